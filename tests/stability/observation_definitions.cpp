#include "observation_definitions.h"

#include <algorithm>
#include <cmath>

#include "stability/absent.h"
#include "sublayer_definitions.h"

namespace plumb::test {
namespace {

using Values = std::vector<double>;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Shares and cosines have a natural scale of 1.
Definition of_scale_one(std::function<Values(const StepTensors&)> values) {
  Definition definition;
  definition.scales = [values](const StepTensors& step) { return Values(values(step).size(), 1.0); };
  definition.values = std::move(values);
  return definition;
}

double share(double count, double all) { return count / all; }

double dot(const Matrix& x, std::int64_t r, std::int64_t s) {
  double sum = 0;
  for (std::int64_t i = 0; i < x.columns; ++i) sum += x.at(r, i) * x.at(s, i);
  return sum;
}

double token_similarity(const Matrix& x) {
  double sum = 0;
  for (std::int64_t first = 0; first < x.rows(); first += kTokens) {
    for (std::int64_t s = first; s < first + kTokens; ++s) {
      for (std::int64_t t = first; t < first + kTokens; ++t)
        if (s != t) sum += dot(x, s, t) / std::sqrt(dot(x, s, s) * dot(x, t, t));
    }
  }
  return sum / (static_cast<double>(x.rows()) * static_cast<double>(kTokens - 1));
}

/// max / median, the lower one of two in the middle, which counts as the middle of its eighth of an octave.
double massive_ratio(const Matrix& x) {
  Values magnitudes;
  for (const double value : x.values) magnitudes.push_back(std::abs(value));
  std::sort(magnitudes.begin(), magnitudes.end());
  const double median = magnitudes[(magnitudes.size() - 1) / 2];
  const double octave = std::exp2(std::floor(std::log2(median)));
  const double eighth = std::floor(8 * (median / octave - 1));
  const double middle = octave * std::sqrt((1 + eighth / 8) * (1 + (eighth + 1) / 8));
  return magnitudes.back() / middle;
}

/// Share of the rows whose variance is below 10 eps.
double small_variance(const Matrix& x, double epsilon) {
  double count = 0;
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    double mean = 0, variance = 0;
    for (std::int64_t i = 0; i < x.columns; ++i) mean += x.at(r, i) / static_cast<double>(x.columns);
    for (std::int64_t i = 0; i < x.columns; ++i)
      variance += std::pow(x.at(r, i) - mean, 2) / static_cast<double>(x.columns);
    count += variance < 10 * epsilon ? 1 : 0;
  }
  return share(count, static_cast<double>(x.rows()));
}

/// W_1 u + b_1 of FFN sublayer k.
Matrix pre_activation(const StepTensors& step, std::int64_t k) {
  const Matrix x = all_rows(step, &RankTensors::stream, at(k));
  const std::string name = sublayer_name(k) + ".expand";
  return linear(branch_input(step, x, k), old_value(step, name + ".weight"), old_value(step, name + ".bias"));
}

double dead_units(const Matrix& pre) {
  double dead = 0;
  for (std::int64_t i = 0; i < pre.columns; ++i) {
    bool alive = false;
    for (std::int64_t r = 0; r < pre.rows(); ++r) alive = alive || pre.at(r, i) > 0;
    dead += alive ? 0 : 1;
  }
  return share(dead, static_cast<double>(pre.columns));
}

double gelu(double t) { return t / 2 * (1 + std::erf(t / std::sqrt(2.0))); }

double saturation(const StepTensors& step, std::int64_t k) {
  const double alpha = old_value(step, sublayer_name(k) + ".norm_ffn_inner.alpha")[0];
  const Matrix pre = pre_activation(step, k);
  double count = 0;
  for (const double value : pre.values) count += std::abs(alpha * gelu(value)) > 2 ? 1 : 0;
  return share(count, static_cast<double>(pre.values.size()));
}

/// What the norms at the ends of sublayers read; nothing of the others.
Values small_variances(const StepTensors& step) {
  Values values;
  for (const std::string& norm : norm_names(step)) {
    if (norm == "final_norm") {
      const std::size_t last = step.ranks[0].stream.size() - 1;
      values.push_back(
          small_variance(all_rows(step, &RankTensors::stream, last), step.config.final_norm.epsilon));
      continue;
    }
    const std::int64_t k = sublayer_of(step, norm);
    if (norm.ends_with(".norm_in")) {
      values.push_back(
          small_variance(all_rows(step, &RankTensors::stream, at(k)), step.config.base.norm.in.epsilon));
    } else if (norm.ends_with(".norm_out")) {
      values.push_back(small_variance(all_rows(step, &RankTensors::norm_out_input, at(k)),
                                      step.config.base.norm.out.epsilon));
    } else {
      values.push_back(kAbsent);
    }
  }
  return values;
}

Values saturations(const StepTensors& step) {
  Values values;
  for (const std::string& norm : norm_names(step)) {
    const bool inner = norm.ends_with(".norm_ffn_inner");
    values.push_back(inner ? saturation(step, sublayer_of(step, norm)) : kAbsent);
  }
  return values;
}

Values of_feed_forwards(const StepTensors& step, double (*f)(const Matrix& pre)) {
  Values values;
  for (std::int64_t k = 0; k < static_cast<std::int64_t>(step.ranks[0].branch.size()); ++k)
    values.push_back(k % 2 == 1 ? f(pre_activation(step, k)) : kAbsent);
  return values;
}

/// g^2 / max(v, eps^2) of every entry of a tensor, averaged; g clipped, v free of its bias.
double lag(const StepTensors& step, std::size_t tensor) {
  const Values& gradient = step.shared.gradients[tensor];
  double sum = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double g = clip_factor(step) * gradient[i], v = unbiased_second_moment(step, tensor, i);
    sum += g * g / std::max(v, ModelRun::kEpsilon * ModelRun::kEpsilon);
  }
  return std::sqrt(sum / static_cast<double>(gradient.size()));
}

double eps_dominance(const StepTensors& step, std::size_t tensor) {
  const std::size_t entries = step.shared.gradients[tensor].size();
  double count = 0;
  for (std::size_t i = 0; i < entries; ++i)
    count += std::sqrt(unbiased_second_moment(step, tensor, i)) < ModelRun::kEpsilon ? 1 : 0;
  return share(count, static_cast<double>(entries));
}

double update_norm(const StepTensors& step, std::size_t tensor) {
  Values update = step.shared.values[tensor];
  for (std::size_t i = 0; i < update.size(); ++i) update[i] -= step.shared.old_values[tensor][i];
  return std::sqrt(square_of(update));
}

Values of_tensors(const StepTensors& step, double (*f)(const StepTensors&, std::size_t)) {
  Values values;
  for (std::size_t i = 0; i < step.shared.names.size(); ++i) values.push_back(f(step, i));
  return values;
}

double largest(const Values& values) {
  double most = -1e300;
  for (const double value : values)
    if (!is_absent(value)) most = std::max(most, value);
  return most;
}

double mean(const Values& values) {
  double sum = 0;
  for (const double value : values) sum += value / static_cast<double>(values.size());
  return sum;
}

}  // namespace

void advance_second_moments(StepTensors& step) {
  step.second_moments.resize(step.shared.gradients.size());
  for (std::size_t tensor = 0; tensor < step.shared.gradients.size(); ++tensor) {
    const Values& gradient = step.shared.gradients[tensor];
    Values& moment = step.second_moments[tensor];
    moment.resize(gradient.size());
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      const double g = clip_factor(step) * gradient[i];
      moment[i] = ModelRun::kBeta2 * moment[i] + (1 - ModelRun::kBeta2) * g * g;
    }
  }
}

std::map<std::string, Definition> observation_definitions() {
  std::map<std::string, Definition> table;
  const auto profile = [&](const std::string& name, double (*f)(const Matrix&)) {
    for (const bool of_stream : {true, false}) {
      const auto list = of_stream ? &RankTensors::stream : &RankTensors::branch;
      table[std::string("stability.jsonl: profiles.") + (of_stream ? "stream." : "branch.") + name] =
          of_scale_one([list, f](const StepTensors& step) {
            Values values;
            for (std::size_t k = 0; k < (step.ranks[0].*list).size(); ++k)
              values.push_back(f(all_rows(step, list, k)));
            return values;
          });
    }
  };
  profile("massive_ratio", massive_ratio);
  profile("token_similarity", token_similarity);
  table["stability.jsonl: ffn.dead_units"] =
      of_scale_one([](const StepTensors& step) { return of_feed_forwards(step, dead_units); });
  table["stability.jsonl: norms.small_variance"] = of_scale_one(small_variances);
  table["stability.jsonl: norms.saturation"] = of_scale_one(saturations);
  return table;
}

std::map<std::string, Definition> update_definitions() {
  std::map<std::string, Definition> table;
  const auto tensors = [&](const std::string& name, double (*f)(const StepTensors&, std::size_t)) {
    table["stability.jsonl: tensors." + name].values = [f](const StepTensors& step) {
      return of_tensors(step, f);
    };
  };
  tensors("adam_lag", lag);
  tensors("update_norm", update_norm);
  table["stability.jsonl: tensors.eps_dominance"] =
      of_scale_one([](const StepTensors& step) { return of_tensors(step, eps_dominance); });
  table["metrics.jsonl: adam_lag"].values = [](const StepTensors& step) {
    return Values{largest(of_tensors(step, lag))};
  };
  table["metrics.jsonl: kappa"] = of_scale_one([](const StepTensors& step) {
    return Values{mean(residual_definitions().at("stability.jsonl: residual.kappa").values(step))};
  });
  table["metrics.jsonl: largest_attention_logit"].values = [](const StepTensors& step) {
    return Values{largest(attention_definitions().at("stability.jsonl: attention.max_logit").values(step))};
  };
  return table;
}

}  // namespace plumb::test

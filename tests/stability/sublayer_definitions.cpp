#include "sublayer_definitions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stability/absent.h"

namespace plumb::test {
namespace {

using Values = std::vector<double>;

std::int64_t sublayers(const StepTensors& step) {
  return static_cast<std::int64_t>(step.ranks[0].branch.size());
}

struct AttentionValues {
  double max_logit = -std::numeric_limits<double>::infinity();
  Values head_entropy;  ///< mean over rows
  double mean_log_keys = 0;
};

/// Causal attention by its definition; rows are (sequence, position).
AttentionValues attention_of(const StepTensors& step, std::int64_t k) {
  const ModelConfig& config = step.config;
  const Matrix x = all_rows(step, &RankTensors::stream, static_cast<std::size_t>(k));
  const std::string name = sublayer_name(k) + ".qkv";
  const Matrix qkv =
      linear(branch_input(step, x, k), old_value(step, name + ".weight"), old_value(step, name + ".bias"));
  const std::int64_t width = config.width / config.heads, tokens = config.sequence_length;
  AttentionValues result;
  for (std::int64_t head = 0; head < config.heads; ++head) {
    double entropy = 0;
    for (std::int64_t query = 0; query < x.rows(); ++query) {
      const std::int64_t first = query - query % tokens;
      Values logits;
      for (std::int64_t key = first; key <= query; ++key) {
        double dot = 0;
        for (std::int64_t i = head * width; i < (head + 1) * width; ++i)
          dot += qkv.at(query, i) * qkv.at(key, config.width + i);
        logits.push_back(dot / std::sqrt(static_cast<double>(width)));
      }
      double sum = 0;
      for (const double logit : logits) sum += std::exp(logit);
      for (const double logit : logits) entropy -= std::exp(logit) / sum * std::log(std::exp(logit) / sum);
      result.max_logit = std::max(result.max_logit, *std::max_element(logits.begin(), logits.end()));
      if (head == 0) result.mean_log_keys += std::log(static_cast<double>(logits.size()));
    }
    result.head_entropy.push_back(entropy / static_cast<double>(x.rows()));
  }
  result.mean_log_keys /= static_cast<double>(x.rows());
  return result;
}

double mean_entropy(const AttentionValues& values) {
  double sum = 0;
  for (const double entropy : values.head_entropy) sum += entropy;
  return sum / static_cast<double>(values.head_entropy.size());
}

double least_entropy(const AttentionValues& values) {
  return *std::min_element(values.head_entropy.begin(), values.head_entropy.end());
}

}  // namespace

Matrix linear(const Matrix& u, const Values& weight, const Values& bias) {
  Matrix y{static_cast<std::int64_t>(bias.size()), {}};
  for (std::int64_t r = 0; r < u.rows(); ++r) {
    for (std::size_t o = 0; o < bias.size(); ++o) {
      double sum = bias[o];
      for (std::int64_t i = 0; i < u.columns; ++i)
        sum += weight[o * static_cast<std::size_t>(u.columns) + static_cast<std::size_t>(i)] * u.at(r, i);
      y.values.push_back(sum);
    }
  }
  return y;
}

Matrix branch_input(const StepTensors& step, const Matrix& x, std::int64_t k) {
  const std::string norm = sublayer_name(k) + ".norm_in";
  Matrix u{x.columns, {}};
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    const Values row = layer_norm(x, r, old_value(step, norm + ".gain"), old_value(step, norm + ".bias"),
                                  step.config.base.norm.in.epsilon);
    u.values.insert(u.values.end(), row.begin(), row.end());
  }
  return u;
}

std::vector<std::string> norm_names(const StepTensors& step) {
  std::vector<std::string> names;
  for (std::int64_t k = 0; k < sublayers(step); ++k) {
    names.push_back(sublayer_name(k) + ".norm_in");
    if (k % 2 == 1) names.push_back(sublayer_name(k) + ".norm_ffn_inner");
    names.push_back(sublayer_name(k) + ".norm_out");
  }
  names.emplace_back("final_norm");
  return names;
}

std::int64_t sublayer_of(const StepTensors& step, const std::string& norm) {
  std::int64_t k = 0;
  while (k < sublayers(step) && !norm.starts_with(sublayer_name(k) + ".")) ++k;
  return k;
}

std::map<std::string, Definition> attention_definitions() {
  std::map<std::string, Definition> table;
  const auto add = [&](const char* name, double (*value)(const AttentionValues&)) {
    table[std::string("stability.jsonl: attention.") + name].values = [value](const StepTensors& step) {
      Values values;
      for (std::int64_t k = 0; k < sublayers(step); ++k)
        values.push_back(k % 2 == 0 ? value(attention_of(step, k)) : kAbsent);
      return values;
    };
  };
  add("max_logit", [](const AttentionValues& values) { return values.max_logit; });
  add("entropy.mean", mean_entropy);
  add("entropy.min", least_entropy);
  add("normalised_entropy.mean",
      [](const AttentionValues& values) { return mean_entropy(values) / values.mean_log_keys; });
  add("normalised_entropy.min",
      [](const AttentionValues& values) { return least_entropy(values) / values.mean_log_keys; });
  return table;
}

std::map<std::string, Definition> residual_definitions() {
  std::map<std::string, Definition> table;
  // b of sublayer k; and mean over rows of f(|x|, |z|, x.z).
  const auto add = [&](const char* name, double (*f)(double b, double x, double z, double product)) {
    Definition& definition = table[std::string("stability.jsonl: residual.") + name];
    definition.values = [f](const StepTensors& step) {
      Values values;
      for (std::int64_t k = 0; k < sublayers(step); ++k) {
        const Matrix x = all_rows(step, &RankTensors::stream, static_cast<std::size_t>(k)),
                     z = all_rows(step, &RankTensors::branch, static_cast<std::size_t>(k));
        const Values& vector = old_value(step, sublayer_name(k) + ".b");
        const double b = kResidualStep * std::sqrt(square_of(vector) / static_cast<double>(vector.size()));
        double sum = 0;
        for (std::int64_t r = 0; r < x.rows(); ++r) {
          double product = 0;
          for (std::int64_t i = 0; i < x.columns; ++i) product += x.at(r, i) * z.at(r, i);
          sum += f(b, std::sqrt(square_of(Values(x.row(r), x.row(r) + x.columns))),
                   std::sqrt(square_of(Values(z.row(r), z.row(r) + x.columns))), product);
        }
        values.push_back(sum / static_cast<double>(x.rows()));
      }
      return values;
    };
    definition.scales = [values = definition.values](const StepTensors& step) {
      return Values(values(step).size(), 1.0);
    };
  };
  add("step", [](double b, double, double, double) { return b; });
  add("ratio", [](double, double x, double z, double) { return z / x; });
  add("rho", [](double b, double x, double z, double) { return b * z / x; });
  add("kappa", [](double, double x, double z, double product) { return product / (x * z); });
  return table;
}

std::map<std::string, Definition> norm_definitions() {
  std::map<std::string, Definition> table;
  for (const std::string kind : {"gain", "bias"}) {
    const auto add = [&](const char* name, double (*value)(const Values&)) {
      table["stability.jsonl: norms." + kind + "." + name].values = [kind, value](const StepTensors& step) {
        Values values;
        for (const std::string& norm : norm_names(step))
          values.push_back(value(old_value(step, norm + "." + kind)));
        return values;
      };
    };
    add("mean", [](const Values& values) {
      double sum = 0;
      for (const double value : values) sum += value;
      return sum / static_cast<double>(values.size());
    });
    add("std", [](const Values& values) {
      double sum = 0;
      for (const double value : values) sum += value / static_cast<double>(values.size());
      double squares = 0;
      for (const double value : values) squares += (value - sum) * (value - sum);
      return std::sqrt(squares / static_cast<double>(values.size()));
    });
    add("max_abs", [](const Values& values) {
      double most = 0;
      for (const double value : values) most = std::max(most, std::abs(value));
      return most;
    });
  }
  return table;
}

}  // namespace plumb::test

#include "definitions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "observation_definitions.h"
#include "stability/absent.h"
#include "sublayer_definitions.h"

namespace plumb::test {
namespace {

using Values = std::vector<double>;
using OfRows = std::function<double(const Matrix&)>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double mean_of(const Values& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double variance_of(const Values& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(values.size());
}

double largest_of(const Values& values) { return *std::max_element(values.begin(), values.end()); }
double smallest_of(const Values& values) { return *std::min_element(values.begin(), values.end()); }

/// Mean over all entries of f(entry).
OfRows mean_over_entries(double (*f)(double)) {
  return [f](const Matrix& x) {
    double sum = 0;
    for (const double value : x.values) sum += f(value);
    return sum / static_cast<double>(x.values.size());
  };
}

double max_abs(const Matrix& x) {
  double most = 0;
  for (const double value : x.values) most = std::max(most, std::abs(value));
  return most;
}

double entry_variance(const Matrix& x) {
  double sum = 0;
  for (std::int64_t r = 0; r < x.rows(); ++r) sum += variance_of(Values(x.row(r), x.row(r) + x.columns));
  return sum / static_cast<double>(x.rows());
}

Values column(const Matrix& x, std::int64_t i) {
  Values values;
  for (std::int64_t r = 0; r < x.rows(); ++r) values.push_back(x.at(r, i));
  return values;
}

double data_variance(const Matrix& x) {
  double sum = 0;
  for (std::int64_t i = 0; i < x.columns; ++i) sum += variance_of(column(x, i));
  return sum / static_cast<double>(x.columns);
}

double max_row_norm(const Matrix& x) {
  double most = 0;
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    most = std::max(most, std::sqrt(square_of(Values(x.row(r), x.row(r) + x.columns))));
  }
  return most;
}

double feature_kurtosis(const Matrix& x) {
  Values squares, fourth;
  for (std::int64_t i = 0; i < x.columns; ++i) {
    const double square = square_of(column(x, i)) / static_cast<double>(x.rows());
    squares.push_back(square);
    fourth.push_back(square * square);
  }
  return mean_of(fourth) / (mean_of(squares) * mean_of(squares));
}

double kurtosis(const Matrix& x) {
  const double square = mean_over_entries([](double v) { return v * v; })(x);
  return mean_over_entries([](double v) { return v * v * v * v; })(x) / (square * square);
}

double overflows(const Matrix& x) {
  double count = 0;
  for (const double value : x.values) count += std::abs(value) > 65504 ? 1 : 0;
  return count;
}

// Ranks.

double targets_of(const RankTensors& rank) { return static_cast<double>(rank.targets.size()); }

double all_sequences(const StepTensors& step) {
  double sum = 0;
  for (const RankTensors& rank : step.ranks) sum += static_cast<double>(rank.sequences);
  return sum;
}

/// |g_r| of every rank: of tensor i, or of all.
Values local_norms(const StepTensors& step, std::ptrdiff_t tensor) {
  Values norms;
  for (const RankTensors& rank : step.ranks) {
    double square = 0;
    for (std::size_t i = 0; i < rank.gradients.size(); ++i) {
      if (tensor < 0 || i == static_cast<std::size_t>(tensor)) square += square_of(rank.gradients[i]);
    }
    norms.push_back(std::sqrt(square));
  }
  return norms;
}

double reduced_square(const StepTensors& step, std::ptrdiff_t tensor) {
  if (tensor >= 0) return square_of(step.shared.gradients[static_cast<std::size_t>(tensor)]);
  double square = 0;
  for (const Values& gradient : step.shared.gradients) square += square_of(gradient);
  return square;
}

double mean_rank_square(const StepTensors& step, std::ptrdiff_t tensor) {
  const Values norms = local_norms(step, tensor);
  double m = 0;
  for (std::size_t r = 0; r < norms.size(); ++r)
    m += static_cast<double>(step.ranks[r].sequences) / all_sequences(step) * norms[r] * norms[r];
  return m;
}

double rank_count(const StepTensors& step) { return static_cast<double>(step.ranks.size()); }

double noise_square(const StepTensors& step, std::ptrdiff_t tensor) {
  const double ranks = rank_count(step);
  return (ranks * reduced_square(step, tensor) - mean_rank_square(step, tensor)) / (ranks - 1);
}

double noise_trace(const StepTensors& step, std::ptrdiff_t tensor) {
  return all_sequences(step) * (mean_rank_square(step, tensor) - reduced_square(step, tensor)) /
         (rank_count(step) - 1);
}

double trace_scale(const StepTensors& step, std::ptrdiff_t tensor) {
  return all_sequences(step) * mean_rank_square(step, tensor) / (rank_count(step) - 1);
}

enum Smoothed { kTrace, kSquare, kScale };

double smoothed(const StepTensors& step, std::size_t entry, Smoothed which) {
  double trace = 0, square = 0, weights = 0;
  for (std::size_t t = 0; t < step.noise.size(); ++t) {
    const double weight = std::pow(0.99, static_cast<double>(step.noise.size() - 1 - t));
    trace += weight * step.noise[t][entry].first;
    square += weight * step.noise[t][entry].second;
    weights += weight;
  }
  if (which == kTrace) return trace / weights;
  if (which == kSquare) return square / weights;
  return square > 0 ? trace / square : kAbsent;
}

double dispersion(const StepTensors& step, std::ptrdiff_t tensor) {
  const Values norms = local_norms(step, tensor);
  return std::sqrt(variance_of(norms)) / mean_of(norms);
}

class Table {
 public:
  using OfTensor = std::function<double(const StepTensors&, std::ptrdiff_t)>;

  void metric(const std::string& name, std::function<double(const StepTensors&)> value,
              std::function<double(const StepTensors&)> scale = {}) {
    add(
        "metrics.jsonl: " + name, [value](const StepTensors& step) { return Values{value(step)}; },
        scale ? Listing([scale](const StepTensors& step) { return Values{scale(step)}; }) : Listing());
  }
  /// Of the whole gradient: tensor -1.
  void of_gradient(const std::string& name, const OfTensor& value, const OfTensor& scale = {}) {
    const auto whole = [](const OfTensor& f) { return [f](const StepTensors& step) { return f(step, -1); }; };
    metric(name, whole(value), scale ? whole(scale) : std::function<double(const StepTensors&)>());
  }
  void tensors(const std::string& name, const OfTensor& value, const OfTensor& scale = {}) {
    const auto each = [](const OfTensor& f) {
      return [f](const StepTensors& step) {
        Values values;
        for (std::size_t i = 0; i < step.shared.names.size(); ++i)
          values.push_back(f(step, static_cast<std::ptrdiff_t>(i)));
        return values;
      };
    };
    add("stability.jsonl: tensors." + name, each(value), scale ? Listing(each(scale)) : Listing());
  }
  /// Of stream and branch over all rows of all ranks.
  void profile(const std::string& name, const OfRows& of_rows) {
    activations("profiles.{}." + name, &RankTensors::stream, &RankTensors::branch, of_rows);
  }
  void gradient_profile(const std::string& name, const OfRows& of_rows) {
    activations("profiles.{}." + name, &RankTensors::stream_gradient, &RankTensors::branch_gradient, of_rows);
  }
  /// The smallest and the largest of what each rank has on its own rows.
  void extremes(const std::string& name, const OfRows& of_rows) {
    for (const bool largest : {false, true}) {
      for (const bool of_stream : {false, true}) {
        const auto list = of_stream ? &RankTensors::stream : &RankTensors::branch;
        add(std::string("stability.jsonl: profiles.") + (of_stream ? "stream" : "branch") +
                (largest ? ".interval_max." : ".interval_min.") + name,
            [list, of_rows, largest](const StepTensors& step) {
              Values values;
              for (std::size_t k = 0; k < (step.ranks[0].*list).size(); ++k) {
                Values each;
                for (const RankTensors& rank : step.ranks) each.push_back(of_rows((rank.*list)[k]));
                values.push_back(largest ? largest_of(each) : smallest_of(each));
              }
              return values;
            });
      }
    }
  }
  void ranks(const std::string& name, std::function<double(const RankTensors&)> value) {
    add("ranks.jsonl: " + name, [value](const StepTensors& step) {
      Values values;
      for (const RankTensors& rank : step.ranks) values.push_back(value(rank));
      return values;
    });
  }
  void all_ranks(const std::string& name, std::function<Values(const StepTensors&)> values) {
    add("ranks.jsonl: " + name, std::move(values));
  }
  void stability(const std::string& name, std::function<Values(const StepTensors&)> values) {
    add("stability.jsonl: " + name, std::move(values));
  }

  std::map<std::string, Definition> take() { return std::move(table_); }

 private:
  using Listing = std::function<Values(const StepTensors&)>;
  void add(const std::string& name, Listing values, Listing scales = {}) {
    PLUMB_CHECK(table_.emplace(name, Definition{std::move(values), std::move(scales)}).second,
                "{} is defined twice", name);
  }
  void activations(const std::string& pattern, std::vector<Matrix> RankTensors::*stream,
                   std::vector<Matrix> RankTensors::*branch, const OfRows& of_rows) {
    for (const auto list : {stream, branch}) {
      std::string path = pattern;
      path.replace(path.find("{}"), 2, list == stream ? "stream" : "branch");
      add("stability.jsonl: " + path, [list, of_rows](const StepTensors& step) {
        Values values;
        for (std::size_t k = 0; k < (step.ranks[0].*list).size(); ++k)
          values.push_back(of_rows(all_rows(step, list, k)));
        return values;
      });
    }
  }
  std::map<std::string, Definition> table_;
};

double frobenius(const Matrix& x) { return std::sqrt(square_of(x.values)); }

void define_head(Table& table) {
  using OfRow = double (*)(const Matrix&, std::int64_t, int);
  const auto mean_over_targets = [](OfRow f) {
    return [f](const StepTensors& step) {
      double sum = 0, count = 0;
      for (const RankTensors& rank : step.ranks) {
        for (std::int64_t r = 0; r < rank.logits.rows(); ++r, ++count)
          sum += f(rank.logits, r, rank.targets[static_cast<std::size_t>(r)]);
      }
      return sum / count;
    };
  };
  const OfRow cross_entropy = [](const Matrix& logits, std::int64_t r, int target) {
    return log_z(logits, r) - logits.at(r, target);
  };
  table.metric("loss", mean_over_targets(cross_entropy));
  table.metric("log_z", mean_over_targets([](const Matrix& l, std::int64_t r, int) { return log_z(l, r); }));
  table.metric("log_z_squared", mean_over_targets([](const Matrix& logits, std::int64_t r, int) {
                 return log_z(logits, r) * log_z(logits, r);
               }));
  table.metric("max_logit", [](const StepTensors& step) {
    double most = -kInfinity;
    for (const RankTensors& rank : step.ranks) most = std::max(most, largest_of(rank.logits.values));
    return most;
  });
  table.ranks("loss", [cross_entropy](const RankTensors& rank) {
    double sum = 0;
    for (std::int64_t r = 0; r < rank.logits.rows(); ++r)
      sum += cross_entropy(rank.logits, r, rank.targets[static_cast<std::size_t>(r)]);
    return sum / targets_of(rank);
  });
  table.metric("loss_argmax_rank", [cross_entropy](const StepTensors& step) {
    Values losses;
    for (const RankTensors& rank : step.ranks) {
      double sum = 0;
      for (std::int64_t r = 0; r < rank.logits.rows(); ++r)
        sum += cross_entropy(rank.logits, r, rank.targets[static_cast<std::size_t>(r)]);
      losses.push_back(sum / targets_of(rank));
    }
    return static_cast<double>(std::max_element(losses.begin(), losses.end()) - losses.begin());
  });
  table.ranks("sequences", [](const RankTensors& rank) { return static_cast<double>(rank.sequences); });
  // Steps read on from where the step before ended, and in it ranks from where the rank before them ended.
  table.all_ranks("first_sequence", [](const StepTensors& step) {
    double next = 0;
    for (const RankTensors& rank : step.ranks) next += static_cast<double>((step.step - 1) * rank.sequences);
    Values first;
    for (const RankTensors& rank : step.ranks) {
      first.push_back(next);
      next += static_cast<double>(rank.sequences);
    }
    return first;
  });
}

void define_profiles(Table& table) {
  const OfRows mean_abs = mean_over_entries([](double v) { return std::abs(v); });
  table.profile("mean_abs", mean_abs);
  table.profile("entry_variance", entry_variance);
  table.profile("data_variance", data_variance);
  table.profile("max_abs", max_abs);
  table.profile("fp16_range_used", [](const Matrix& x) { return max_abs(x) / 65504; });
  table.profile("rms", [](const Matrix& x) {
    return std::sqrt(square_of(x.values) / static_cast<double>(x.values.size()));
  });
  table.profile("max_row_norm", max_row_norm);
  table.profile("overflows", overflows);
  table.profile("feature_kurtosis", feature_kurtosis);
  table.profile("fourth_moment", mean_over_entries([](double v) { return v * v * v * v; }));
  table.profile("kurtosis", kurtosis);
  table.gradient_profile("gradient_norm", frobenius);
  table.gradient_profile("gradient_max_row_norm", max_row_norm);
  table.extremes("mean_abs", mean_abs);
  table.extremes("entry_variance", entry_variance);
  table.extremes("max_abs", max_abs);
  table.stability("growth_exponent", [](const StepTensors& step) {
    const std::size_t last = step.ranks[0].stream.size() - 1, half = last / 2;
    const auto variance = [&](std::size_t k) {
      return entry_variance(all_rows(step, &RankTensors::stream, k));
    };
    return Values{std::log(variance(last) / variance(half)) /
                  std::log(static_cast<double>(last) / static_cast<double>(half))};
  });
  table.stability("gradient_bottom_top", [](const StepTensors& step) {
    const std::size_t top = step.ranks[0].stream.size() - 1;
    return Values{frobenius(all_rows(step, &RankTensors::stream_gradient, 0)) /
                  frobenius(all_rows(step, &RankTensors::stream_gradient, top))};
  });
  const auto all_places = [](const OfRows& f, bool sum) {
    return [f, sum](const StepTensors& step) {
      double total = 0, most = 0;
      for (const auto list : {&RankTensors::stream, &RankTensors::branch}) {
        for (std::size_t k = 0; k < (step.ranks[0].*list).size(); ++k) {
          const double value = f(all_rows(step, list, k));
          total += value;
          most = std::max(most, value);
        }
      }
      return sum ? total : most;
    };
  };
  table.metric("max_abs", all_places(max_abs, false));
  table.metric("overflows", all_places(overflows, true));
}

void define_gradients(Table& table) {
  table.of_gradient("grad_norm", [](const StepTensors& step, std::ptrdiff_t i) {
    return std::sqrt(reduced_square(step, i));
  });
  table.metric("clip_coef", clip_factor);
  const Table::OfTensor one = [](const StepTensors&, std::ptrdiff_t) { return 1.0; };
  const Table::OfTensor agreement = [](const StepTensors& step, std::ptrdiff_t i) {
    return noise_square(step, i) / mean_rank_square(step, i);
  };
  table.of_gradient("grad_dispersion", dispersion);
  table.of_gradient("grad_agreement", agreement, one);
  table.of_gradient("noise_square", noise_square, mean_rank_square);
  table.of_gradient("noise_trace", noise_trace, trace_scale);
  const Table::OfTensor scale = [](const StepTensors& step, std::ptrdiff_t i) {
    return smoothed(step, static_cast<std::size_t>(1 + i), kScale);
  };
  // What an error of m in the denominator does to the ratio.
  const Table::OfTensor scale_of_scale = [](const StepTensors& step, std::ptrdiff_t i) {
    const auto entry = static_cast<std::size_t>(1 + i);
    const double square = smoothed(step, entry, kSquare);
    return smoothed(step, entry, kTrace) * mean_rank_square(step, i) / (square * square);
  };
  table.metric(
      "noise_square_smoothed", [](const StepTensors& step) { return smoothed(step, 0, kSquare); },
      [](const StepTensors& step) { return mean_rank_square(step, -1); });
  table.metric("noise_trace_smoothed", [](const StepTensors& step) { return smoothed(step, 0, kTrace); });
  table.of_gradient("noise_scale", scale, scale_of_scale);
  table.tensors("grad_dispersion", dispersion);
  table.tensors("grad_agreement", agreement, one);
  table.tensors("noise_square", noise_square, mean_rank_square);
  table.tensors("noise_trace", noise_trace, trace_scale);
  table.tensors("noise_scale", scale, scale_of_scale);
  table.tensors("grad_norm",
                [](const StepTensors& step, std::ptrdiff_t i) { return std::sqrt(reduced_square(step, i)); });
  const auto spread = [&](const std::string& name, double (*f)(const Values&)) {
    table.tensors("grad_norm_local." + name,
                  [f](const StepTensors& step, std::ptrdiff_t i) { return f(local_norms(step, i)); });
  };
  table.of_gradient("grad_argmax_rank", [](const StepTensors& step, std::ptrdiff_t i) {
    const Values norms = local_norms(step, i);
    return static_cast<double>(std::max_element(norms.begin(), norms.end()) - norms.begin());
  });
  spread("min", smallest_of);
  spread("mean", mean_of);
  spread("max", largest_of);
  spread("std", [](const Values& norms) { return std::sqrt(variance_of(norms)); });
  spread("argmax_rank", [](const Values& norms) {
    return static_cast<double>(std::max_element(norms.begin(), norms.end()) - norms.begin());
  });
  table.ranks("grad_norm", [](const RankTensors& rank) {
    double square = 0;
    for (const Values& gradient : rank.gradients) square += square_of(gradient);
    return std::sqrt(square);
  });
}

void define_updates(Table& table) {
  const auto old_norm = [](const StepTensors& step, std::ptrdiff_t i) {
    return std::sqrt(square_of(step.shared.old_values[static_cast<std::size_t>(i)]));
  };
  table.tensors("parameter_norm", old_norm);
  table.tensors("update_ratio", [old_norm](const StepTensors& step, std::ptrdiff_t i) {
    const auto tensor = static_cast<std::size_t>(i);
    Values update = step.shared.values[tensor];
    for (std::size_t j = 0; j < update.size(); ++j) update[j] -= step.shared.old_values[tensor][j];
    return std::sqrt(square_of(update)) / old_norm(step, i);
  });
}

}  // namespace

double clip_factor(const StepTensors& step) { return std::min(1.0, 1 / std::sqrt(reduced_square(step, -1))); }

double unbiased_second_moment(const StepTensors& step, std::size_t tensor, std::size_t entry) {
  return step.second_moments[tensor][entry] /
         (1 - std::pow(ModelRun::kBeta2, static_cast<double>(step.step)));
}

double square_of(const Values& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return sum;
}

Matrix all_rows(const StepTensors& step, std::vector<Matrix> RankTensors::*list, std::size_t k) {
  Matrix all = (step.ranks[0].*list)[k];
  for (std::size_t rank = 1; rank < step.ranks.size(); ++rank) {
    const Values& values = (step.ranks[rank].*list)[k].values;
    all.values.insert(all.values.end(), values.begin(), values.end());
  }
  return all;
}

const Values& old_value(const StepTensors& step, const std::string& name) {
  const auto found = std::find(step.shared.names.begin(), step.shared.names.end(), name);
  PLUMB_CHECK(found != step.shared.names.end(), "no trainable tensor {}", name);
  return step.shared.old_values[static_cast<std::size_t>(found - step.shared.names.begin())];
}

std::vector<std::pair<double, double>> noise_estimates(const StepTensors& step) {
  std::vector<std::pair<double, double>> estimates;
  const auto tensors = static_cast<std::ptrdiff_t>(step.shared.names.size());
  for (std::ptrdiff_t i = -1; i < tensors; ++i)
    estimates.emplace_back(noise_trace(step, i), noise_square(step, i));
  return estimates;
}

const std::map<std::string, Definition>& definitions() {
  static const std::map<std::string, Definition> table = [] {
    Table definitions;
    define_head(definitions);
    define_profiles(definitions);
    define_gradients(definitions);
    define_updates(definitions);
    std::map<std::string, Definition> all = definitions.take();
    all.merge(attention_definitions());
    all.merge(norm_definitions());
    all.merge(residual_definitions());
    all.merge(observation_definitions());
    all.merge(update_definitions());
    return all;
  }();
  return table;
}

}  // namespace plumb::test

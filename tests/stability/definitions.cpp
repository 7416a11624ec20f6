#include "definitions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "definition_table.h"
#include "gradient_definitions.h"
#include "observation_definitions.h"
#include "sublayer_definitions.h"

namespace plumb::test {
namespace {

using Values = std::vector<double>;
using OfRows = DefinitionTable::OfRows;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

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

double targets_of(const RankTensors& rank) { return static_cast<double>(rank.targets.size()); }

double frobenius(const Matrix& x) { return std::sqrt(square_of(x.values)); }

void define_head(DefinitionTable& table) {
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

void define_profiles(DefinitionTable& table) {
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

void define_updates(DefinitionTable& table) {
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

const std::map<std::string, Definition>& definitions() {
  static const std::map<std::string, Definition> table = [] {
    DefinitionTable definitions;
    define_head(definitions);
    define_profiles(definitions);
    define_updates(definitions);
    std::map<std::string, Definition> all = definitions.take();
    all.merge(gradient_definitions());
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

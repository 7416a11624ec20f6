// A step whose data are pure functions of (step, probe, row, feature), so that every rank can compute what
// all of them hold. For tests on one rank and on four.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "comm/ranks.h"
#include "core/rng.h"
#include "stability/statistics_table.h"
#include "stability/step_statistics.h"

namespace plumb::test {

inline constexpr std::int64_t kSublayers = 2, kWidth = 6, kTensors = 3, kProbes = 2 * kSublayers + 1;
inline const StatisticsShape kShape{.sublayers = kSublayers, .width = kWidth, .tensors = kTensors};
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Rank r holds 3 + 2 (r % 3) rows: ranks differ.
inline std::int64_t rows_of(int rank) { return 3 + 2 * (rank % 3); }

/// Mean of a feature: all different, the last one huge when `offset` is.
struct Data {
  double offset = 0;
  double value(int step, std::int64_t probe, int rank, std::int64_t row, std::int64_t feature) const {
    const RandomStream random{77, static_cast<std::uint32_t>(step),
                              static_cast<std::uint32_t>(probe * 100 + rank)};
    const double noise = random.normal(static_cast<std::uint64_t>(row * kWidth + feature));
    const double mean = feature == kWidth - 1 ? offset : 0.3 * static_cast<double>(feature) - 0.5;
    return mean + (0.2 + 0.1 * static_cast<double>(probe)) * noise + 0.05 * rank + 0.01 * step;
  }
};

inline double local_square(int step, int rank, std::int64_t tensor) {
  return 0.01 * (1 + rank) * static_cast<double>(1 + tensor) + 0.001 * step;
}
// One row has no target.
inline double targets_of(int rank) { return static_cast<double>(rows_of(rank) - 1); }

struct Brute {
  double mean_abs = 0, entry_variance = 0, data_variance = 0, max_abs = 0, rms = 0, max_row_norm = 0;
};

/// Statistics of one probe over the rows of the given ranks, two-pass, in long double.
inline Brute brute_force(const Data& data, int step, std::int64_t probe, int first_rank, int last_rank) {
  std::vector<std::vector<long double>> rows;
  for (int rank = first_rank; rank <= last_rank; ++rank) {
    for (std::int64_t row = 0; row < rows_of(rank); ++row) {
      rows.emplace_back();
      for (std::int64_t i = 0; i < kWidth; ++i) rows.back().push_back(data.value(step, probe, rank, row, i));
    }
  }
  Brute result;
  long double sum_abs = 0, sum_squares = 0, row_variances = 0, column_variances = 0;
  const auto variance_of = [](const std::vector<long double>& x) {
    long double mean = 0, variance = 0;
    for (const long double v : x) mean += v / static_cast<long double>(x.size());
    for (const long double v : x) variance += (v - mean) * (v - mean) / static_cast<long double>(x.size());
    return variance;
  };
  for (const auto& row : rows) {
    long double squares = 0;
    for (const long double v : row) {
      sum_abs += std::abs(v);
      squares += v * v;
      result.max_abs = std::max(result.max_abs, static_cast<double>(std::abs(v)));
    }
    sum_squares += squares;
    row_variances += variance_of(row);
    result.max_row_norm = std::max(result.max_row_norm, static_cast<double>(std::sqrt(squares)));
  }
  for (std::size_t i = 0; i < kWidth; ++i) {
    std::vector<long double> column;
    for (const auto& row : rows) column.push_back(row[i]);
    column_variances += variance_of(column);
  }
  const auto count = static_cast<long double>(rows.size());
  result.mean_abs = static_cast<double>(sum_abs / (count * kWidth));
  result.rms = static_cast<double>(std::sqrt(sum_squares / (count * kWidth)));
  result.entry_variance = static_cast<double>(row_variances / count);
  result.data_variance = static_cast<double>(column_variances / kWidth);
  return result;
}

class StepStatisticsTest : public testing::Test {
 protected:
  StepStatisticsTest() { statistics_ = make(); }

  std::unique_ptr<StepStatistics> make() {
    return std::make_unique<StepStatistics>(kShape, all_statistics(), *backend_, ranks());
  }

  static double gradient(int step, std::int64_t probe, int rank, std::int64_t i) {
    return 0.1 * std::sin(static_cast<double>(step + 7 * probe + 31 * rank + i));
  }

  /// One step of this rank, in two micro-batches, as a model would emit it.
  StepRecord& run(StepStatistics& statistics, const Data& data, int step, bool sampled,
                  const std::function<void(std::vector<double>&)>& spoil = {}) {
    emit(statistics, data, step, sampled, spoil);
    return statistics.finish_step(*stream_, times());
  }

  /// The same without its end. `change`: what the trainer knows of the step.
  void emit(StepStatistics& statistics, const Data& data, int step, bool sampled,
            const std::function<void(std::vector<double>&)>& spoil = {},
            const std::function<void(StepInputs&)>& change = {}) {
    statistics.begin_step(*stream_, sampled ? Cadence::Detailed : Cadence::EveryStep);
    const Probes& probes = statistics.probes();
    const int rank = ranks().rank();
    for (std::int64_t probe = 0; probe < kProbes; ++probe) {
      const bool of_stream = probe <= kSublayers;
      const std::size_t k = at(of_stream ? probe : probe - kSublayers - 1);
      std::vector<double> x;
      for (std::int64_t row = 0; row < rows_of(rank); ++row)
        for (std::int64_t i = 0; i < kWidth; ++i) x.push_back(data.value(step, probe, rank, row, i));
      if (spoil) spoil(x);
      const MomentsView& view = (of_stream ? probes.stream : probes.branch)[k];
      EXPECT_EQ(view.column_sum.defined(), sampled);
      add_moments(view, x.data(), 2);
      add_moments(view, x.data() + 2 * kWidth, rows_of(rank) - 2);
      std::vector<double> dx;
      for (std::int64_t i = 0; i < 4; ++i) dx.push_back(gradient_factor_ * gradient(step, probe, rank, i));
      const GradientProbe& place = (of_stream ? probes.stream_gradient : probes.branch_gradient)[k];
      backend_->observations().row_squares(*stream_, {.x = Tensor(dx.data(), DType::Float64, {2, 2}),
                                                      .sum = place.square,
                                                      .largest = place.largest_row_square,
                                                      .workspace = {}});
    }
    double* loss = probes.loss_sums.as<double>();
    loss[kHeadLossRows] += targets_of(rank);
    loss[kHeadLossCrossEntropy] += targets_of(rank) * (2 + 0.1 * rank);
    loss[kHeadLossLogZ] += targets_of(rank) * (5 + rank);
    loss[kHeadLossLogZSquared] += targets_of(rank) * (30 + rank);
    loss[kHeadLossMaxLogit] = std::max(loss[kHeadLossMaxLogit], -3.0 - rank);
    for (std::int64_t i = 0; i < kTensors; ++i)
      statistics.gradient_squares_local().as<double>()[i] =
          gradient_factor_ * gradient_factor_ * local_square(step, rank, i);
    StepInputs known = inputs(step);
    if (change) change(known);
    statistics.read_step(*stream_, known);
  }

  void add_moments(const MomentsView& view, double* x, std::int64_t rows) {
    backend_->moments().moments(
        *stream_, {.x = Tensor(x, DType::Float64, {rows, kWidth}), .moments = view, .workspace = {}});
  }

  static StepTimes times() {
    return {.step_seconds = 0.5 + 0.25 * ranks().rank(),
            .wait_seconds = 0.125 * ranks().rank(),
            .preempted_seconds = 0.0625 * ranks().rank()};
  }

  StepInputs inputs(int step) {
    return {.step = step,
            .tokens = 100 * step,
            .step_tokens = 100,
            .sequences = rows_of(ranks().rank()),
            .data_cursor = 10 * step,
            .step_scalars = Tensor(step_scalars_, DType::Float64, {kStepScalars}),
            .reduced_gradient_squares = Tensor(reduced_, DType::Float64, {kTensors}),
            .update_squares = Tensor(update_, DType::Float64, {kTensors}),
            .parameter_squares = Tensor(parameter_, DType::Float64, {kTensors})};
  }

  /// Of a probe, counted stream 0..K, then branch: `name` as in profiles.stream.<name>.
  static double profile(const StepRecord& record, std::int64_t probe, const std::string& name) {
    const std::string of = probe <= kSublayers ? "stream." : "branch.";
    return record.of(log_file::kStability, "profiles." + of + name)[place(probe)];
  }
  static std::span<const double> profiled(const StepRecord& record, const std::string& name) {
    return record.of(log_file::kStability, "profiles." + name);
  }
  /// Of every value, NaN included.
  static std::vector<std::uint64_t> bits(const StepRecord& record) {
    std::vector<std::uint64_t> all;
    for (const double value : record.values) all.push_back(std::bit_cast<std::uint64_t>(value));
    return all;
  }
  static std::span<const double> tensors(const StepRecord& record, const std::string& name) {
    return record.of(log_file::kStability, "tensors." + name);
  }
  static double metric(const StepRecord& record, std::string_view name) {
    return record.of(log_file::kMetrics, name)[0];
  }
  static double of_rank(const StepRecord& record, std::string_view name, int rank) {
    return record.of(log_file::kRanks, name)[at(rank)];
  }
  static std::size_t place(std::int64_t probe) {
    return at(probe <= kSublayers ? probe : probe - kSublayers - 1);
  }

  std::unique_ptr<Backend> backend_ = make_backend("reference");
  std::unique_ptr<Stream> stream_ = backend_->create_stream();
  std::unique_ptr<StepStatistics> statistics_;
  double step_scalars_[kStepScalars] = {0.003, 0.1, 0.05, 4.0, 0.25, 1.0, 1.0, 1.0, 0.0};
  double gradient_factor_ = 1;  ///< a loss scale is in all gradients
  double reduced_[kTensors] = {0.04, 0.09, 16}, update_[kTensors] = {1e-4, 4e-4, 0},
         parameter_[kTensors] = {4, 0, 9}, local_[kTensors] = {};
};

inline void expect_near(double actual, double expected, double relative, const char* what) {
  EXPECT_NEAR(actual, expected, relative * std::abs(expected)) << what;
}

}  // namespace plumb::test

// Statistics of a step against brute force over the raw rows of all ranks. Data are pure functions of (step,
// probe, row, feature), so every rank can compute what all of them hold. Runs on one rank and on four.
#include "stability/step_statistics.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>

#include "allocation_counter.h"
#include "backend/loader.h"
#include "comm/ranks.h"
#include "core/rng.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

using test::ranks;

constexpr std::int64_t kSublayers = 2, kWidth = 6, kTensors = 3, kProbes = 2 * kSublayers + 1;
const StatisticsShape kShape{.sublayers = kSublayers, .width = kWidth, .tensors = kTensors};
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Rank r holds 3 + 2 (r % 3) rows: ranks differ.
std::int64_t rows_of(int rank) { return 3 + 2 * (rank % 3); }

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

double local_square(int step, int rank, std::int64_t tensor) {
  return 0.01 * (1 + rank) * static_cast<double>(1 + tensor) + 0.001 * step;
}
double targets_of(int rank) { return static_cast<double>(rows_of(rank) - 1); }  // one row has no target

struct Brute {
  double mean_abs = 0, entry_variance = 0, data_variance = 0, max_abs = 0, rms = 0, max_row_norm = 0;
};

/// Statistics of one probe over the rows of the given ranks, two-pass, in long double.
Brute brute_force(const Data& data, int step, std::int64_t probe, int first_rank, int last_rank) {
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

  /// The same without its end.
  void emit(StepStatistics& statistics, const Data& data, int step, bool sampled,
            const std::function<void(std::vector<double>&)>& spoil = {}) {
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
    statistics.read_step(*stream_, inputs(step));
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
         parameter_[kTensors] = {4, 0, 9};
};

void expect_near(double actual, double expected, double relative, const char* what) {
  EXPECT_NEAR(actual, expected, relative * std::abs(expected)) << what;
}

TEST_F(StepStatisticsTest, ProfilesEqualBruteForceOverAllRanks) {
  const Data data;
  for (const int step : {1, 2, 3}) {  // with a zero shift, and about the mean of the step before
    const StepRecord& record = run(*statistics_, data, step, true);
    ASSERT_TRUE(record.sampled);
    for (std::int64_t probe = 0; probe < kProbes; ++probe) {
      const Brute expected = brute_force(data, step, probe, 0, ranks().world() - 1);
      const auto actual = [&](const char* name) { return profile(record, probe, name); };
      expect_near(actual("mean_abs"), expected.mean_abs, 1e-13, "mean_abs");
      expect_near(actual("entry_variance"), expected.entry_variance, 1e-13, "entry_variance");
      expect_near(actual("data_variance"), expected.data_variance, 1e-12, "data_variance");
      expect_near(actual("rms"), expected.rms, 1e-13, "rms");
      expect_near(actual("max_row_norm"), expected.max_row_norm, 1e-14, "max_row_norm");
      EXPECT_EQ(actual("max_abs"), expected.max_abs);
      double gradient_square = 0, largest_row = 0;
      for (int rank = 0; rank < ranks().world(); ++rank) {
        for (const std::int64_t i : {0, 2}) {
          const double row =
              std::pow(gradient(step, probe, rank, i), 2) + std::pow(gradient(step, probe, rank, i + 1), 2);
          gradient_square += row;
          largest_row = std::max(largest_row, row);
        }
      }
      expect_near(actual("gradient_norm"), std::sqrt(gradient_square), 1e-14, "gradient_norm");
      expect_near(actual("gradient_max_row_norm"), std::sqrt(largest_row), 1e-14, "gradient_max_row_norm");
    }
  }
}

TEST_F(StepStatisticsTest, TheLossScaleIsInNoField) {
  const auto plain = make();
  const std::vector<std::uint64_t> expected = bits(run(*plain, Data{}, 1, true));
  const double scale = 1024;
  gradient_factor_ = scale;
  for (double& square : reduced_) square *= scale * scale;
  step_scalars_[kStepAppliedLossScale] = step_scalars_[kStepLossScale] = scale;
  StepRecord& record = run(*statistics_, Data{}, 1, true);
  record.values[at(record.layout->find(log_file::kMetrics, "loss_scale")->place)] = 1;
  EXPECT_EQ(bits(record), expected) << "a power of two changes no bit";
}

TEST_F(StepStatisticsTest, DataVarianceDoesNotCancelUnderAHugeMean) {
  const Data data{.offset = 3e8};
  run(*statistics_, data, 1, true);
  run(*statistics_, data, 2, false);
  const StepRecord& record = run(*statistics_, data, 3, true);
  for (std::int64_t probe = 0; probe < kProbes; ++probe) {
    const double expected = brute_force(data, 3, probe, 0, ranks().world() - 1).data_variance;
    expect_near(profile(record, probe, "data_variance"), expected, 1e-9, "data_variance");
    // That the case is a hard one: float64 power sums about 0 lose the variance altogether.
    double sum = 0, squares = 0, count = 0;
    for (int rank = 0; rank < ranks().world(); ++rank) {
      for (std::int64_t row = 0; row < rows_of(rank); ++row, ++count) {
        const double x = data.value(3, probe, rank, row, kWidth - 1);
        sum += x;
        squares += x * x;
      }
    }
    EXPECT_GT(std::abs(squares / count - sum / count * (sum / count) - expected), 0.5 * expected);
  }
}

TEST_F(StepStatisticsTest, RoundingNeverMakesAVarianceNegative) {
  for (int step = 1; step <= 3; ++step) {
    const auto constant = [&](std::vector<double>& x) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.1 * step;
    };
    const auto fresh = make();
    const StepRecord& record = run(*fresh, Data{}, step, true, constant);
    EXPECT_GE(profiled(record, "stream.data_variance")[0], 0);
    EXPECT_LE(profiled(record, "stream.data_variance")[0], 1e-16);
  }
}

TEST_F(StepStatisticsTest, ScalarsOfEveryStep) {
  for (const bool sampled : {false, true}) {
    const StepRecord& record = run(*statistics_, Data{}, 4, sampled);
    EXPECT_EQ(record.sampled, sampled);
    double targets = 0, cross_entropy = 0, log_z = 0, log_z_squared = 0, max_abs = 0;
    for (int rank = 0; rank < ranks().world(); ++rank) {
      targets += targets_of(rank);
      cross_entropy += targets_of(rank) * (2 + 0.1 * rank);
      log_z += targets_of(rank) * (5 + rank);
      log_z_squared += targets_of(rank) * (30 + rank);
    }
    for (std::int64_t probe = 0; probe < kProbes; ++probe)
      max_abs = std::max(max_abs, brute_force(Data{}, 4, probe, 0, ranks().world() - 1).max_abs);
    EXPECT_DOUBLE_EQ(record.loss, cross_entropy / targets);
    EXPECT_DOUBLE_EQ(metric(record, "log_z"), log_z / targets);
    EXPECT_DOUBLE_EQ(metric(record, "log_z_squared"), log_z_squared / targets);
    EXPECT_EQ(metric(record, "max_logit"), -3) << "also when every logit is negative";
    EXPECT_EQ(metric(record, "max_abs"), max_abs);
    EXPECT_EQ(record.step_seconds, 0.5 + 0.25 * (ranks().world() - 1));
    EXPECT_EQ(record.tokens_per_second, 100 / record.step_seconds);
    EXPECT_EQ(record.learning_rate, 0.003);
    EXPECT_EQ(record.gradient_norm, 4);
    EXPECT_EQ(record.clip_coefficient, 0.25);
    EXPECT_FALSE(record.skipped);
    EXPECT_EQ(record.tokens, 400);
    EXPECT_EQ(record.data_cursor, 40);
    for (int rank = 0; rank < ranks().world(); ++rank) {
      double square = 0;
      for (std::int64_t i = 0; i < kTensors; ++i) square += local_square(4, rank, i);
      EXPECT_DOUBLE_EQ(of_rank(record, "loss", rank), 2 + 0.1 * rank);
      // The rank's own mean gradient: its share of the sum, times targets of all / its own.
      EXPECT_DOUBLE_EQ(of_rank(record, "grad_norm", rank), std::sqrt(square) * targets / targets_of(rank));
      EXPECT_EQ(of_rank(record, "step_seconds", rank), 0.5 + 0.25 * rank);
      EXPECT_EQ(of_rank(record, "wait_seconds", rank), 0.125 * rank);
      EXPECT_EQ(of_rank(record, "preempted_seconds", rank), 0.0625 * rank);
    }
  }
  step_scalars_[kStepSkipFactor] = 0;
  EXPECT_TRUE(run(*statistics_, Data{}, 5, false).skipped);
}

TEST_F(StepStatisticsTest, TensorsAndTheirSpreadOverRanks) {
  const StepRecord& record = run(*statistics_, Data{}, 6, true);
  EXPECT_DOUBLE_EQ(tensors(record, "grad_norm")[1], 0.3);
  EXPECT_DOUBLE_EQ(tensors(record, "parameter_norm")[2], 3);
  EXPECT_DOUBLE_EQ(tensors(record, "update_ratio")[0], 0.005);
  EXPECT_TRUE(is_absent(tensors(record, "update_ratio")[1])) << "no ratio to a parameter that is 0";
  EXPECT_EQ(tensors(record, "update_ratio")[2], 0);
  const int world = ranks().world();
  if (world == 1) {
    for (const char* name : {"min", "std", "argmax_rank"}) {
      const auto path = std::string("tensors.grad_norm_local.") + name;
      EXPECT_EQ(record.layout->find(log_file::kStability, path), nullptr) << "one rank has no spread";
    }
    return;
  }
  double targets = 0;
  for (int rank = 0; rank < world; ++rank) targets += targets_of(rank);
  for (std::int64_t i = 0; i < kTensors; ++i) {
    std::vector<double> norms;
    for (int rank = 0; rank < world; ++rank)
      norms.push_back(std::sqrt(local_square(6, rank, i)) * targets / targets_of(rank));
    const auto largest = std::max_element(norms.begin(), norms.end());
    double mean = 0, variance = 0;
    for (const double norm : norms) mean += norm / world;
    for (const double norm : norms) variance += (norm - mean) * (norm - mean) / world;
    EXPECT_DOUBLE_EQ(tensors(record, "grad_norm_local.min")[at(i)],
                     *std::min_element(norms.begin(), norms.end()));
    EXPECT_DOUBLE_EQ(tensors(record, "grad_norm_local.max")[at(i)], *largest);
    EXPECT_DOUBLE_EQ(tensors(record, "grad_norm_local.mean")[at(i)], mean);
    EXPECT_NEAR(tensors(record, "grad_norm_local.std")[at(i)], std::sqrt(variance), 1e-13);
    EXPECT_EQ(tensors(record, "grad_norm_local.argmax_rank")[at(i)], largest - norms.begin());
  }
}

TEST_F(StepStatisticsTest, ExtremesCoverTheStepsSinceTheRecordBeforeAndAllRanks) {
  const Data data;
  const auto check = [&](const StepRecord& record, std::initializer_list<int> steps) {
    for (std::int64_t probe = 0; probe < kProbes; ++probe) {
      Brute low, high;
      low.mean_abs = low.entry_variance = low.max_abs = std::numeric_limits<double>::infinity();
      for (const int step : steps) {
        for (int rank = 0; rank < ranks().world(); ++rank) {
          const Brute own = brute_force(data, step, probe, rank, rank);
          low.mean_abs = std::min(low.mean_abs, own.mean_abs);
          low.entry_variance = std::min(low.entry_variance, own.entry_variance);
          low.max_abs = std::min(low.max_abs, own.max_abs);
          high.mean_abs = std::max(high.mean_abs, own.mean_abs);
          high.entry_variance = std::max(high.entry_variance, own.entry_variance);
          high.max_abs = std::max(high.max_abs, own.max_abs);
        }
      }
      const auto actual = [&](const char* name) { return profile(record, probe, name); };
      expect_near(actual("interval_min.mean_abs"), low.mean_abs, 1e-13, "smallest mean_abs");
      expect_near(actual("interval_min.entry_variance"), low.entry_variance, 1e-13,
                  "smallest entry_variance");
      expect_near(actual("interval_min.max_abs"), low.max_abs, 1e-15, "smallest max_abs");
      expect_near(actual("interval_max.mean_abs"), high.mean_abs, 1e-13, "largest mean_abs");
      expect_near(actual("interval_max.entry_variance"), high.entry_variance, 1e-13,
                  "largest entry_variance");
      expect_near(actual("interval_max.max_abs"), high.max_abs, 1e-15, "largest max_abs");
    }
  };
  run(*statistics_, data, 1, false);
  run(*statistics_, data, 2, false);
  check(run(*statistics_, data, 3, true), {1, 2, 3});
  run(*statistics_, data, 4, false);
  check(run(*statistics_, data, 5, true), {4, 5});
  check(run(*statistics_, data, 6, true), {6});
}

// A step that is made again was never there: nothing that a later record or a checkpoint holds knows of it.
TEST_F(StepStatisticsTest, ADiscardedStepCountsForNothing) {
  const Data calm{}, wild{.offset = 1e6};
  const auto other = make();
  for (StepStatistics* statistics : {statistics_.get(), other.get()}) {
    run(*statistics, calm, 1, true);
    run(*statistics, calm, 2, false);
    if (statistics != statistics_.get()) continue;
    for (const bool sampled : {true, false}) {
      emit(*statistics, wild, 3, sampled);
      EXPECT_EQ(statistics->discard_step(), 3);
    }
  }
  const std::vector<double> values = run(*statistics_, calm, 3, true).values;
  EXPECT_EQ(
      std::memcmp(values.data(), run(*other, calm, 3, true).values.data(), values.size() * sizeof(double)),
      0);
  const auto state = statistics_->state_tensors(), expected = other->state_tensors();
  for (std::size_t i = 0; i < state.size(); ++i)
    EXPECT_EQ(std::memcmp(state[i].tensor.data, expected[i].tensor.data, state[i].tensor.bytes()), 0)
        << state[i].name;
}

// A host that runs ahead begins a step before the one before it has moved the shift.
TEST_F(StepStatisticsTest, StepsInFlightKeepTheShiftThatTheyBeganWith) {
  const Data data{.offset = 3};
  const auto other = make();
  emit(*statistics_, data, 1, true);
  for (int step = 1; step <= 4; ++step) {
    if (step < 4) emit(*statistics_, data, step + 1, true);
    const StepRecord& ahead = statistics_->finish_step(*stream_, times());
    const StepRecord& alone = run(*other, data, step, true);
    for (std::int64_t probe = 0; probe < kProbes; ++probe)
      for (const char* name : {"feature_kurtosis", "data_variance"})
        expect_near(profile(ahead, probe, name), profile(alone, probe, name), 1e-10, name);
  }
}

TEST_F(StepStatisticsTest, OneRanksWishToStopReachesAll) {
  for (const bool wish : {false, true}) {
    statistics_->begin_step(*stream_, Cadence::EveryStep);
    statistics_->read_step(*stream_, inputs(1));
    StepTimes step_times = times();
    step_times.stop_requested = wish && ranks().rank() == ranks().world() - 1;
    EXPECT_EQ(statistics_->finish_step(*stream_, step_times).stop_requested, wish);
  }
}

TEST_F(StepStatisticsTest, AllRanksHoldTheSameRecord) {
  run(*statistics_, Data{.offset = 1e5}, 1, true);
  const StepRecord& record = run(*statistics_, Data{.offset = 1e5}, 2, true);
  std::vector<double> theirs = record.values;
  ranks().broadcast("record of rank 0",
                    Tensor(theirs.data(), DType::Float64, {static_cast<std::int64_t>(theirs.size())}), 0);
  const std::vector<std::uint64_t> mine = bits(record);
  for (std::size_t i = 0; i < mine.size(); ++i) EXPECT_EQ(mine[i], std::bit_cast<std::uint64_t>(theirs[i]));
}

TEST_F(StepStatisticsTest, ARestoredRunLogsTheSameBits) {
  const Data data{.offset = 2e6};
  run(*statistics_, data, 1, true);
  run(*statistics_, data, 2, false);
  statistics_->unify_state();
  std::vector<std::vector<double>> saved;  // rank 0's, as a checkpoint would hold
  for (const auto& state : statistics_->state_tensors()) {
    const Tensor& tensor = state.tensor;
    saved.emplace_back(tensor.as<double>(), tensor.as<double>() + tensor.elements());
    ranks().broadcast("state", Tensor(saved.back().data(), DType::Float64, {tensor.elements()}), 0);
  }
  // A run that never met a checkpoint is what both must equal.
  const auto uninterrupted = make();
  run(*uninterrupted, data, 1, true);
  run(*uninterrupted, data, 2, false);
  const StepRecord& expected = run(*uninterrupted, data, 3, true);
  EXPECT_EQ(bits(run(*statistics_, data, 3, true)), bits(expected));

  const auto restored = make();
  std::size_t next = 0;
  for (const auto& state : restored->state_tensors()) {
    std::copy(saved[next].begin(), saved[next].end(), state.tensor.as<double>());
    ++next;
  }
  restored->state_restored(*stream_);
  const StepRecord& actual = run(*restored, data, 3, true);
  EXPECT_EQ(bits(actual), bits(expected));
  // Without the state the bits differ, so the comparison means something.
  const StepRecord fresh = run(*make(), data, 3, true);  // a copy: its owner goes away
  EXPECT_NE(profiled(fresh, "stream.data_variance")[0], profiled(expected, "stream.data_variance")[0]);
}

TEST_F(StepStatisticsTest, ANanOnOneRankIsSeenByAllAndForgottenAfterwards) {
  const Data data;
  run(*statistics_, data, 1, true);
  const auto spoil = [](std::vector<double>& x) {
    if (ranks().rank() == ranks().world() - 1) x[3] = kNaN;
  };
  const StepRecord& bad = run(*statistics_, data, 2, true, spoil);
  EXPECT_TRUE(std::isnan(profiled(bad, "stream.mean_abs")[1]));
  EXPECT_TRUE(std::isnan(profiled(bad, "branch.entry_variance")[0]));
  EXPECT_TRUE(std::isnan(profiled(bad, "stream.data_variance")[2]));
  EXPECT_TRUE(std::isnan(profiled(bad, "stream.interval_max.mean_abs")[0]));
  EXPECT_TRUE(std::isnan(profiled(bad, "stream.interval_min.mean_abs")[0]));
  const StepRecord& good = run(*statistics_, data, 3, true);
  expect_near(profiled(good, "stream.data_variance")[2],
              brute_force(data, 3, 2, 0, ranks().world() - 1).data_variance, 1e-12,
              "data_variance after the bad step");
  EXPECT_TRUE(std::isfinite(profiled(good, "stream.interval_max.mean_abs")[0]));
}

/// Passes everything on and counts.
class CountingCommunicator final : public Communicator {
 public:
  explicit CountingCommunicator(Communicator& inner) : inner_(inner) {
    set_ranks(inner.rank(), inner.hosts());
  }
  int all_reduces = 0, all_gathers = 0, others = 0;

  void barrier(std::string_view name) override { ++others, inner_.barrier(name); }
  void reserve(int requests) override { inner_.reserve(requests); }
  bool poll(Request& request) override { return inner_.poll(request); }
  void wait(Request& request) override { inner_.wait(request); }
  void progress() override { inner_.progress(); }
  StallNotes& stall_notes() override { return inner_.stall_notes(); }

 private:
  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override {
    EXPECT_EQ(tensor.dtype, DType::Float64);
    EXPECT_EQ(op, ReduceOp::Sum);
    ++all_reduces;
    inner_.all_reduce(name, tensor, op);
  }
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override {
    ++all_gathers;
    inner_.all_gather(name, send, receive);
  }
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override {
    ++others, inner_.reduce_scatter(name, send, receive);
  }
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override {
    ++others, inner_.broadcast(name, tensor, root);
  }
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override {
    ++others;
    return inner_.start_all_reduce(name, tensor);
  }
  Communicator& inner_;
};

TEST_F(StepStatisticsTest, AtMostTwoCollectivesPerStep) {
  CountingCommunicator counting(ranks());
  StepStatistics statistics(kShape, all_statistics(), *backend_, counting);
  run(statistics, Data{}, 1, false);
  EXPECT_EQ(counting.all_reduces, 0);
  EXPECT_EQ(counting.all_gathers, 1);
  run(statistics, Data{}, 2, true);
  EXPECT_EQ(counting.all_reduces, 1);
  EXPECT_EQ(counting.all_gathers, 2);
  EXPECT_EQ(counting.others, 0);
}

TEST_F(StepStatisticsTest, FinishTakesNoMemory) {
  run(*statistics_, Data{}, 1, true);
  for (const bool sampled : {false, true}) {
    statistics_->begin_step(*stream_, sampled ? Cadence::Detailed : Cadence::EveryStep);
    const StepInputs step_inputs = inputs(2);
    const std::int64_t before = test::allocations_of_this_thread();
    statistics_->read_step(*stream_, step_inputs);
    statistics_->finish_step(*stream_, times());
    EXPECT_EQ(test::allocations_of_this_thread(), before);
    EXPECT_GT(before, 0) << "the counter must count";
  }
}

}  // namespace
}  // namespace plumb

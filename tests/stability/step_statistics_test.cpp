// Statistics of a step against brute force over the raw rows of all ranks. Runs on one rank and on four.
#include "stability/absent.h"
#include "step_statistics_fixture.h"

namespace plumb::test {
namespace {

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

}  // namespace
}  // namespace plumb::test

// OptimizerOps::guard_step, step after step, against the published rules written out here over growing lists.
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "backend/op_test.h"

namespace plumb::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> noise(int count, double mean, double deviation, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(mean, deviation);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = normal(generator);
  return values;
}

/// Steps of a run as the optimiser makes them: clip, then guard_step.
class GuardRun {
 public:
  GuardRun(const Target& target, const GuardRules& rules, std::int64_t tensors, double max_norm,
           double loss_scale = 1)
      : bench_(shared_backend(target.backend), target.dtype, target.dtype),
        max_norm_(max_norm),
        loss_scale_(loss_scale) {
    const auto of = [&](const char* name, std::int64_t n) { return bench_.sums(name, n); };
    guard_.rules = rules;
    guard_.squares = of("squares", tensors);
    guard_.losses = of("losses", 3);
    guard_.targets = 7;
    guard_.state = of("state", kGuardState + tensors);
    if (rules.tensor_ratio > 0) guard_.tensor_factors = of("factors", tensors);
    guard_.step_scalars = of("scalars", kStepScalars);
    scalars_.assign(kStepScalars, 0.0);
    scalars_[kStepLossScale] = loss_scale;
    write(guard_.step_scalars, scalars_);
  }

  /// norms: of every tensor, without the loss scale.
  const std::vector<double>& step(const std::vector<double>& norms, double loss = 1) {
    std::vector<double> squares;
    for (const double norm : norms) squares.push_back(norm * norm * loss_scale_ * loss_scale_);
    write(guard_.squares, squares);
    write(guard_.losses, {loss * 7 * 0.25, loss * 7 * 0.5, loss * 7 * 0.25});
    const OptimizerOps& ops = bench_.backend().optimizer();
    ops.clip(bench_.stream(),
             {.squares = guard_.squares, .max_norm = max_norm_, .step_scalars = guard_.step_scalars});
    ops.guard_step(bench_.stream(), guard_);
    scalars_ = bench_.read(guard_.step_scalars);
    return scalars_;
  }
  /// As after an update.
  const std::vector<double>& adapt_loss_scale() {
    bench_.backend().optimizer().adapt_loss_scale(bench_.stream(),
                                                  {.interval = 1000, .step_scalars = guard_.step_scalars});
    return scalars_ = bench_.read(guard_.step_scalars);
  }
  std::vector<double> factors() { return bench_.read(guard_.tensor_factors); }
  std::vector<double> state() { return bench_.read(guard_.state); }

 private:
  void write(const Tensor& tensor, const std::vector<double>& values) {
    bench_.backend().upload(bench_.stream(), values.data(), tensor.data, tensor.bytes());
    bench_.stream().synchronize();
  }

  Bench bench_;
  double max_norm_, loss_scale_;
  StepGuard guard_;
  std::vector<double> scalars_;
};

class GuardOp : public testing::TestWithParam<Target> {};
INSTANTIATE_TEST_SUITE_P(Backends, GuardOp, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

/// The rule word by word: nothing is judged before 64 values, the window is the last 128 calm ones.
struct PlainSeries {
  std::vector<double> calm, streak;

  bool spikes(double value) {
    bool spike = !std::isfinite(value);
    if (!spike && calm.size() >= 64) {
      const std::size_t first = calm.size() > 128 ? calm.size() - 128 : 0;
      const auto count = static_cast<long double>(calm.size() - first);
      long double mean = 0, squares = 0;
      for (std::size_t j = first; j < calm.size(); ++j) mean += calm[j] / count;
      for (std::size_t j = first; j < calm.size(); ++j) squares += (calm[j] - mean) * (calm[j] - mean);
      spike = value >= mean + 6 * std::sqrt(squares / (count - 1));
    }
    if (spike && std::isfinite(value)) streak.push_back(value);
    if (!spike) calm.push_back(value), streak.clear();
    if (streak.size() == 64) calm = streak, streak.clear();
    return spike;
  }
};

TEST_P(GuardOp, SkipsTheSpikesOfTheRule) {
  GuardRun run(GetParam(), {.skip_sigmas = 6}, 2, 1);
  std::vector<double> losses = noise(500, 3, 0.1, 1), norms = noise(500, 1, 0.05, 2);
  for (const std::size_t i : {70, 71, 72, 300}) norms[i] += 0.6;
  for (const std::size_t i : {71, 150, 301}) losses[i] += 1;
  losses[200] = kNaN;
  losses[490] = -50;                                        // below is no spike
  for (std::size_t i = 380; i < 450; ++i) norms[i] += 1.5;  // a new level, after 64 of them
  PlainSeries loss_series, norm_series;
  int skipped = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const double norm = std::hypot(0.6 * norms[i], 0.8 * norms[i]);
    const int spikes =
        (loss_series.spikes(losses[i]) ? kLossSpike : 0) + (norm_series.spikes(norm) ? kNormSpike : 0);
    const std::vector<double>& scalars = run.step({0.6 * norms[i], 0.8 * norms[i]}, losses[i]);
    ASSERT_EQ(scalars[kStepSpikes], spikes) << i;
    ASSERT_EQ(scalars[kStepSkipFactor], spikes == 0 ? 1 : 0) << i;
    skipped += spikes != 0;
  }
  EXPECT_EQ(skipped, 7 + 64) << "70, 71, 72, 300, 150, 301, 200, and 64 of the new level";
}

TEST_P(GuardOp, ANormThatIsNotFiniteLeavesTheStateAsItIs) {
  GuardRun run(GetParam(), {.skip_sigmas = 6, .z_limit = 2.5}, 1, 1);
  for (const double value : noise(100, 1, 0.05, 3)) run.step({value});
  const std::vector<double> before = run.state();
  for (const double bad : {kNaN, kInfinity}) {
    const std::vector<double>& scalars = run.step({bad});
    EXPECT_EQ(scalars[kStepSkipFactor], 0);
    EXPECT_EQ(scalars[kStepSpikes], 0);
    EXPECT_EQ(run.state(), before);
  }
  EXPECT_EQ(run.step({1.0})[kStepSkipFactor], 1) << "recovers on the next step";
}

// ZClip as its paper and code state it.
TEST_P(GuardOp, ZClipFollowsTheRecurrence) {
  for (const double max_norm : {0.0, 1.05}) {
    GuardRun run(GetParam(), {.z_limit = 2.5, .z_decay = 0.9, .z_warmup = 10}, 1, max_norm, 16);
    std::vector<double> norms = noise(80, 1, 0.05, 4);
    for (const std::size_t i : {5, 30, 31, 60}) norms[i] = 5;
    std::vector<double> first;
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < norms.size(); ++i) {
      const double norm = norms[i];
      double limit = norm;
      if (i < 10) {
        first.push_back(norm);
        mean = variance = 0;
        for (const double value : first) mean += value / static_cast<double>(first.size());
        for (const double value : first)
          variance += (value - mean) * (value - mean) / static_cast<double>(first.size());
      } else {
        const double deviation = std::sqrt(variance), z = (norm - mean) / deviation;
        if (z > 2.5) limit = mean + 2.5 * deviation / (z / 2.5);
        mean = 0.9 * mean + 0.1 * limit;
        variance = 0.9 * variance + 0.1 * (limit - mean) * (limit - mean);
      }
      const double expected = std::min(limit, max_norm > 0 ? max_norm : limit) / norm;
      EXPECT_NEAR(run.step({norm})[kStepClipFactor], std::min(1.0, expected), 1e-12) << i;
    }
  }
}

// A model whose gradients begin behind a zero: an average of 0 is none.
TEST_P(GuardOp, ZClipBeginsWithNormsOfZero) {
  GuardRun run(GetParam(), {.z_limit = 2.5, .z_decay = 0.9, .z_warmup = 10}, 1, 0);
  for (int i = 0; i < 12; ++i) EXPECT_EQ(run.step({0.0})[kStepClipFactor], 1);
  EXPECT_EQ(run.step({2.0})[kStepClipFactor], 1);
  EXPECT_NEAR(run.state()[kGuardMean], 0.2, 1e-15);
  for (const double value : noise(30, 2, 0.01, 7))
    EXPECT_GT(run.step({value})[kStepClipFactor], 0.3) << "the average has begun to follow";
}

// AdaGC as its paper states it, for three tensors, one of which has no gradient at first.
TEST_P(GuardOp, AdaptiveClippingFollowsTheRecurrence) {
  constexpr int kWarmup = 6;
  GuardRun run(GetParam(), {.tensor_ratio = 1.05, .tensor_decay = 0.9, .tensor_warmup = kWarmup}, 3, 1, 4);
  double average[3] = {};
  std::mt19937 generator(5);
  std::uniform_real_distribution<double> uniform(0.5, 1.5);
  for (int i = 0; i < 40; ++i) {
    const std::vector<double> norms = {uniform(generator), 0.3 * uniform(generator),
                                       i < 10 ? 0 : 0.1 * uniform(generator)};
    const double total = std::sqrt(norms[0] * norms[0] + norms[1] * norms[1] + norms[2] * norms[2]);
    const double global = std::min(1.0, 1 / total);
    const std::vector<double>& scalars = run.step(norms);
    const std::vector<double> factors = run.factors();
    int clipped = 0;
    for (std::size_t n = 0; n < 3; ++n) {
      if (i < kWarmup) {
        EXPECT_EQ(factors[n], 1);
        const double value = global * norms[n];
        if (value > 0) average[n] = average[n] == 0 ? value : std::min(average[n], value);
        continue;
      }
      const double limit = average[n] == 0 ? kInfinity : 1.05 * average[n];
      const double expected = norms[n] > limit ? limit / norms[n] : 1;
      EXPECT_NEAR(factors[n], expected, 1e-12) << "step " << i << ", tensor " << n;
      clipped += expected < 1;
      const double value = expected * norms[n];
      average[n] = average[n] == 0 ? value : 0.9 * average[n] + 0.1 * value;
    }
    EXPECT_EQ(scalars[kStepClippedTensors], clipped);
    EXPECT_NEAR(scalars[kStepClipFactor], i < kWarmup ? global : 1, 1e-12) << i;
  }
}

TEST_P(GuardOp, ManyTensorsTakeManyThreads) {
  constexpr std::int64_t kTensors = 1000;
  GuardRun run(GetParam(), {.tensor_ratio = 1.5, .tensor_decay = 0.5, .tensor_warmup = 1}, kTensors, 0);
  std::vector<double> norms(kTensors, 1.0);
  run.step(norms);
  for (std::size_t n = 0; n < norms.size(); n += 3) norms[n] = 3;
  EXPECT_EQ(run.step(norms)[kStepClippedTensors], 334);
  const std::vector<double> factors = run.factors();
  for (std::size_t n = 0; n < factors.size(); ++n) ASSERT_EQ(factors[n], n % 3 == 0 ? 0.5 : 1.0) << n;
}

// A spike that is skipped is nothing that averages learn from.
TEST_P(GuardOp, ASkippedSpikeMovesNoAverage) {
  GuardRun run(GetParam(), {.skip_sigmas = 6, .tensor_ratio = 1.05, .tensor_warmup = 1}, 1, 0);
  for (const double value : noise(100, 1, 0.01, 6)) run.step({value});
  const double average = run.state()[kGuardState], steps = run.state()[kGuardTensorSteps];
  EXPECT_EQ(run.step({3.0})[kStepSkipFactor], 0);
  EXPECT_EQ(run.factors()[0], 1);
  EXPECT_EQ(run.state()[kGuardState], average);
  EXPECT_EQ(run.state()[kGuardTensorSteps], steps);
}

// What halves the loss scale is a norm that is not finite, not a spike.
TEST_P(GuardOp, ASkippedSpikeLeavesTheLossScale) {
  GuardRun run(GetParam(), {.skip_sigmas = 6}, 1, 0, 1024);
  for (const double value : noise(100, 1, 0.01, 8)) run.step({value});
  const std::vector<double> spike = run.step({3.0});
  ASSERT_EQ(spike[kStepSkipFactor], 0);
  EXPECT_EQ(spike[kStepClipFactor], 1);
  EXPECT_EQ(run.adapt_loss_scale()[kStepLossScale], 1024);
  run.step({kInfinity});
  EXPECT_EQ(run.adapt_loss_scale()[kStepLossScale], 512);
}

class HaltedSteps : public testing::TestWithParam<Target> {};
INSTANTIATE_TEST_SUITE_P(Backends, HaltedSteps, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST_P(HaltedSteps, LastUntilTheHostClearsThem) {
  Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
  std::vector<double> start(kStepScalars, 0.0);
  start[kStepLossScale] = 1;
  const Tensor scalars = bench.variables("scalars", DType::Float64, Shape{kStepScalars}, start);
  const Tensor good = bench.constants("good", DType::Float64, Shape{1}, {4});
  const Tensor bad = bench.constants("bad", DType::Float64, Shape{1}, {kNaN});
  const auto skip_factor = [&](const Tensor& squares, bool halts) {
    bench.backend().optimizer().clip(
        bench.stream(), {.squares = squares, .max_norm = 1, .step_scalars = scalars, .halts = halts});
    return bench.read(scalars)[kStepSkipFactor];
  };
  EXPECT_EQ(skip_factor(good, true), 1);
  EXPECT_EQ(skip_factor(bad, false), 0);
  EXPECT_EQ(skip_factor(good, true), 1) << "only halts where that is asked for";
  EXPECT_EQ(skip_factor(bad, true), 0);
  EXPECT_EQ(skip_factor(good, true), 0) << "still halted";
  const double zero = 0;
  bench.backend().upload(bench.stream(), &zero, scalars.as<double>() + kStepHalted, sizeof zero);
  EXPECT_EQ(skip_factor(good, true), 1);
}

}  // namespace
}  // namespace plumb::test

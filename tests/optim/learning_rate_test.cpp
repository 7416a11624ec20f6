#include "optim/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

LearningRate schedule(LearningRateKind kind, std::int64_t warmup) {
  return {.kind = kind,
          .peak = 0.02,
          .warmup_steps = warmup,
          .total_steps = 101,
          .final_ratio = 0.25,
          .decay_fraction = 0.2};
}

constexpr LearningRateKind kKinds[] = {LearningRateKind::Cosine, LearningRateKind::Linear,
                                       LearningRateKind::Wsd, LearningRateKind::Constant};

TEST(LearningRate, WarmUpIsAStraightLineFromOneShareToThePeak) {
  for (const LearningRateKind kind : kKinds) {
    const LearningRate with_warmup = schedule(kind, 10);
    EXPECT_DOUBLE_EQ(learning_rate_at(with_warmup, 0), 0.002);
    EXPECT_DOUBLE_EQ(learning_rate_at(with_warmup, 4), 0.010);
    EXPECT_DOUBLE_EQ(learning_rate_at(with_warmup, 9), 0.020);
    EXPECT_DOUBLE_EQ(learning_rate_at(schedule(kind, 0), 0), 0.020);
    EXPECT_DOUBLE_EQ(learning_rate_at(schedule(kind, 1), 0), 0.020);
  }
}

TEST(LearningRate, Cosine) {
  const LearningRate no_warmup = schedule(LearningRateKind::Cosine, 0);
  EXPECT_DOUBLE_EQ(learning_rate_at(no_warmup, 50), 0.02 * 0.625);  // half way: mean of peak and final
  EXPECT_NEAR(learning_rate_at(no_warmup, 25), 0.02 * (0.25 + 0.75 * (1 + std::sqrt(0.5)) / 2), 1e-17);
  EXPECT_DOUBLE_EQ(learning_rate_at(no_warmup, 100), 0.005);
  EXPECT_DOUBLE_EQ(learning_rate_at(no_warmup, 5000), 0.005);
  // The peak at step 20, the end at step 100: step 60 is half way.
  EXPECT_DOUBLE_EQ(learning_rate_at(schedule(LearningRateKind::Cosine, 21), 60), 0.02 * 0.625);
}

TEST(LearningRate, Linear) {
  const LearningRate with_warmup = schedule(LearningRateKind::Linear, 21);
  EXPECT_DOUBLE_EQ(learning_rate_at(with_warmup, 40), 0.02 * (1 - 0.75 * 0.25));
  EXPECT_DOUBLE_EQ(learning_rate_at(with_warmup, 100), 0.005);
  EXPECT_DOUBLE_EQ(learning_rate_at(with_warmup, 101), 0.005);
}

TEST(LearningRate, WsdHoldsThePeakAndDecaysOverTheLastSteps) {
  const LearningRate stable = schedule(LearningRateKind::Wsd, 10);  // decays over round(20.2) = 20 steps
  EXPECT_DOUBLE_EQ(learning_rate_at(stable, 10), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate_at(stable, 80), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate_at(stable, 81), 0.02 * (1 - 0.75 / 20));
  EXPECT_DOUBLE_EQ(learning_rate_at(stable, 90), 0.02 * 0.625);
  EXPECT_DOUBLE_EQ(learning_rate_at(stable, 100), 0.005);

  LearningRate all_decay = schedule(LearningRateKind::Wsd, 21);
  all_decay.decay_fraction = 1;  // from the end of warm-up on: the linear schedule
  for (const std::int64_t step : {0, 20, 33, 77, 100}) {
    EXPECT_DOUBLE_EQ(learning_rate_at(all_decay, step),
                     learning_rate_at(schedule(LearningRateKind::Linear, 21), step));
  }
}

TEST(LearningRate, Constant) {
  for (const std::int64_t step : {10, 55, 100, 1000}) {
    EXPECT_DOUBLE_EQ(learning_rate_at(schedule(LearningRateKind::Constant, 10), step), 0.02);
  }
}

TEST(LearningRate, NeverJumps) {
  for (const LearningRateKind kind : kKinds) {
    for (const std::int64_t warmup : {0, 1, 2, 10, 60}) {
      const LearningRate s = schedule(kind, warmup);
      // The steepest places: warm-up, the wsd decay, and pi/2 times the mean slope of a cosine.
      const double warmup_slope = warmup > 0 ? 0.02 / static_cast<double>(warmup) : 0;
      const double decay_slope = 0.015 * 1.5708 / 20;
      for (std::int64_t step = 1; step < 120; ++step) {
        const double change = learning_rate_at(s, step) - learning_rate_at(s, step - 1);
        if (step < warmup) {
          EXPECT_NEAR(change, warmup_slope, 1e-15);
        } else {
          EXPECT_LE(change, 1e-18) << step;
          EXPECT_LE(-change, decay_slope * 2) << step;
        }
      }
    }
  }
}

TEST(LearningRate, RunsAsShortAsTheWarmUp) {
  LearningRate one_step = schedule(LearningRateKind::Cosine, 0);
  one_step.total_steps = 1;
  EXPECT_DOUBLE_EQ(learning_rate_at(one_step, 0), 0.02);
  LearningRate only_warmup = schedule(LearningRateKind::Linear, 200);
  EXPECT_DOUBLE_EQ(learning_rate_at(only_warmup, 100), 0.02 * 101 / 200);
}

TEST(LearningRate, Names) {
  EXPECT_EQ(learning_rate_kind_from_name("wsd"), LearningRateKind::Wsd);
  EXPECT_THROW(learning_rate_kind_from_name("cosin"), InputError);
  EXPECT_THROW(learning_rate_at(schedule(LearningRateKind::Linear, 0), -1), Error);
}

}  // namespace
}  // namespace plumb

// SpikeWatch: the rules over the records of a run, and its state in a checkpoint.
#include "stability/spike_watch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "backend/guard_rules.h"
#include "backend/step_rules.h"
#include "sample_record.h"

namespace plumb::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A run of records whose loss and norm are noise, with a spike here and there.
class NoisyRun {
 public:
  StepRecord& next() {
    record_ = sample_record(++step_, 1);
    record_.loss = 3 + 0.1 * normal_(random_);
    record_.gradient_norm = 1 + 0.05 * normal_(random_);
    if (step_ % 97 == 0) record_.loss += 5;
    if (step_ % 151 == 0) record_.gradient_norm = kNaN;
    return record_;
  }

 private:
  std::mt19937 random_{1};
  std::normal_distribution<double> normal_;
  std::int64_t step_ = 0;
  StepRecord record_;
};

double field(const StepRecord& record, const char* path) { return record.of(log_file::kMetrics, path)[0]; }

TEST(SpikeWatch, AgreesWithTheDetectorsAndFillsTheRecord) {
  NoisyRun run;
  SpikeWatch watch;
  SpikeDetector monitor(kOlmoStabilityMonitor), score(kOlmoSpikeScore);
  for (int step = 1; step <= 1500; ++step) {
    StepRecord& record = run.next();
    const double deviation = monitor.deviation(record.loss);
    const SpikeWatch::Findings findings = watch.observe(record, true);
    if (step % 151 == 0) {  // of such a step nothing is learnt
      ASSERT_FALSE(findings.loss.monitor || findings.loss.olmo_score) << step;
    } else {
      ASSERT_EQ(findings.loss.monitor, monitor.observe(record.loss)) << step;
      ASSERT_EQ(findings.loss.olmo_score, score.observe(record.loss)) << step;
    }
    ASSERT_EQ(findings.gradient_norm.monitor, step % 151 == 0) << step;
    EXPECT_EQ(field(record, "loss_spike_share"), monitor.score_percent());
    EXPECT_EQ(field(record, "loss_spike_score"), score.score_percent());
    ASSERT_EQ(is_absent(field(record, "loss_deviation")), step <= 64) << step;
    ASSERT_TRUE(step <= 64 || field(record, "loss_deviation") == deviation) << step;
    EXPECT_EQ(is_absent(field(record, "grad_norm_deviation")), step <= 64 || step % 151 == 0) << step;
  }
  EXPECT_EQ(monitor.state().spikes, 15);
}

TEST(SpikeWatch, AnOverflowThatTheLossScaleDealsWithIsNotJudged) {
  NoisyRun run;
  SpikeWatch watch;
  for (int step = 1; step <= 100; ++step) watch.observe(run.next(), true);
  StepRecord& record = run.next();
  record.gradient_norm = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(watch.observe(record, false).gradient_norm.monitor);
  EXPECT_EQ(field(record, "grad_norm_spike_share"), 0);
}

// What the device skips by and what the host logs are one rule over one past.
TEST(SpikeWatch, FindsWhatTheDeviceSkips) {
  NoisyRun run;
  SpikeWatch watch;
  const GuardRules rules{.skip_sigmas = kOlmoStabilityMonitor.sigmas};
  std::vector<double> state(kGuardState, 0.0), scalars(kStepScalars, 0.0);
  scalars[kStepLossScale] = 1;
  for (int step = 1; step <= 1500; ++step) {
    StepRecord& record = run.next();
    if (step % 131 == 0)
      record.gradient_norm = kNaN;  // some of these losses lie far out, though they are no spikes
    if (step % 131 == 0) record.loss += step % 262 == 0 ? 0.5 : -9;
    if (step % 211 == 0) record.loss = kNaN;
    const SpikeWatch::Findings findings = watch.observe(record, true);
    decide_clip(record.gradient_norm, 0, /*halts=*/false, scalars.data());
    decide_guard(rules, &record.loss, 1, 1, state.data(), scalars.data(),
                 [](double square) { return std::sqrt(square); });
    if (!std::isfinite(record.gradient_norm)) continue;  // clip has skipped it
    ASSERT_EQ(findings.loss.monitor, (static_cast<int>(scalars[kStepSpikes]) & kLossSpike) != 0) << step;
    ASSERT_EQ(findings.gradient_norm.monitor, (static_cast<int>(scalars[kStepSpikes]) & kNormSpike) != 0)
        << step;
    // The loss windows themselves, as a checkpoint holds them: calm values, the oldest first.
    const auto packed = watch.state_tensors()[0].tensor;
    const auto count = static_cast<std::int64_t>(packed.as<double>()[2]);
    const double* series = state.data() + kGuardLoss;
    ASSERT_EQ(series[kSeriesCount], static_cast<double>(count)) << step;
    double host = 0, device = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      host += packed.as<double>()[4 + i];
      device += series[kSeriesWindow + i];
    }
    ASSERT_NEAR(host, device, 1e-9) << step;
  }
}

TEST(SpikeWatch, GoesOnFromItsStateBitByBit) {
  for (const int saved : {30, 100, 500, 1300}) {
    NoisyRun run;
    SpikeWatch watch, copy;
    for (int step = 0; step < saved; ++step) watch.observe(run.next(), true);
    auto from = watch.state_tensors(), to = copy.state_tensors();
    ASSERT_EQ(from.size(), to.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      ASSERT_EQ(from[i].name, to[i].name);
      std::memcpy(to[i].tensor.data, from[i].tensor.data, from[i].tensor.bytes());
    }
    copy.state_restored();
    for (int step = 0; step < 400; ++step) {
      StepRecord record = run.next(), twin = record;
      watch.observe(record, true);
      copy.observe(twin, true);
      ASSERT_EQ(std::memcmp(record.values.data(), twin.values.data(), record.values.size() * sizeof(double)),
                0)
          << "saved after " << saved << ", " << step << " steps later";
    }
  }
}

TEST(SpikeWatch, RefusesAStateThatIsNone) {
  SpikeWatch watch;
  auto state = watch.state_tensors();
  state[0].tensor.as<double>()[2] = 1e9;
  EXPECT_THROW(watch.state_restored(), Error);
}

}  // namespace
}  // namespace plumb::test

// Verdicts: a calm run is regular, and every planted fault changes the verdict and is named.
#include "report/run_summary.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "made_run.h"

namespace plumb {
namespace {

using test::calm_run;
using ::testing::HasSubstr;

std::string all_reasons(const RunSummary& summary) {
  std::string text;
  for (const VerdictReason& reason : summary.reasons) {
    text += verdict_name(reason.level) + ": " + reason.text + "\n";
  }
  return text;
}

std::string judged(const RunData& run) {
  const RunSummary summary = summarise_run(run);
  return "verdict " + verdict_name(summary.verdict) + "\n" + all_reasons(summary);
}

std::vector<double>& column(RunData& run, const char* id) { return run.metrics.scalars.find(id)->second; }

TEST(RunSummary, ACalmRunIsRegular) {
  RunData run = calm_run();
  run.metrics.scalars["val_loss"].assign(1000, std::nan(""));
  column(run, "val_loss")[499] = 1.2;
  column(run, "val_loss")[999] = 1.3;
  const RunSummary summary = summarise_run(run);
  EXPECT_EQ(summary.verdict, VerdictLevel::Regular) << all_reasons(summary);
  EXPECT_EQ(summary.steps, 1000);
  EXPECT_EQ(summary.planned_steps, 1000);
  EXPECT_NEAR(summary.final_loss, 1, 0.02);
  EXPECT_NEAR(summary.first_loss, 5, 0.1);
  EXPECT_EQ(summary.final_validation->value, 1.3);
  EXPECT_EQ(summary.best_validation->step, 500);
  EXPECT_EQ(summary.last_growth->growth_class, GrowthClass::Linear);
  EXPECT_NEAR(summary.gradient_ratio->value, 2, 1e-6);
  EXPECT_TRUE(summary.loss_spikes.indices.empty());
  EXPECT_THAT(all_reasons(summary), HasSubstr("the loss fell from"));
}

TEST(RunSummary, ALossThatIsNotFinite) {
  RunData run = calm_run();
  column(run, "loss").back() = std::nan("");
  run.nonfinite = {{1000, "loss", "nan"}};
  EXPECT_THAT(judged(run), HasSubstr("verdict pathological"));
  EXPECT_THAT(judged(run),
              HasSubstr("pathological: loss or gradient norm was not finite, first at step 1000"));
  EXPECT_TRUE(std::isnan(summarise_run(run).final_loss));
}

TEST(RunSummary, ALossThatEndsAboveWhereItBegan) {
  RunData run = calm_run();
  for (std::size_t i = 900; i < 1000; ++i) column(run, "loss")[i] = 7;
  EXPECT_THAT(judged(run), HasSubstr("pathological: the loss ended at 7.000, above"));
}

TEST(RunSummary, ALossThatLeavesItsBest) {
  RunData run = calm_run();
  for (std::size_t i = 900; i < 1000; ++i) column(run, "loss")[i] = 3;
  EXPECT_THAT(judged(run), HasSubstr("pathological: the loss ended at 3.000, having been at 0.9"));
}

TEST(RunSummary, SpikesAreCountedAndNamed) {
  RunData run = calm_run();
  for (const std::size_t step : {500, 700}) column(run, "loss")[step] += 12;
  column(run, "grad_norm")[600] = 50;
  const RunSummary summary = summarise_run(run);
  EXPECT_THAT(summary.loss_spikes.indices, ::testing::ElementsAre(500, 700));
  EXPECT_THAT(summary.gradient_spikes.indices, ::testing::ElementsAre(600));
  EXPECT_NEAR(summary.loss_spikes.percent, 100.0 * 2 / 872, 1e-9);
  EXPECT_NEAR(summary.monitor_percent, 100.0 * 3 / 936, 1e-9);
  EXPECT_THAT(judged(run), HasSubstr("borderline: 2 loss spikes, spike score 0.23 %"));
  EXPECT_THAT(judged(run), HasSubstr("regular: 1 gradient spike, spike score 0.11 %"));
}

TEST(RunSummary, GrowthThatIsExponential) {
  RunData run = calm_run();
  RecordMatrix& variance = run.stability.arrays["profiles.stream.entry_variance"];
  for (std::size_t k = 0; k <= 24; ++k) variance.values[2 * 25 + k] = std::exp(0.4F * static_cast<float>(k));
  EXPECT_THAT(judged(run), HasSubstr("pathological: variance over depth: exponential"));
  variance.values[2 * 25 + 7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(judged(run), HasSubstr("pathological: the variance of the stream is not finite at step 1000"));
}

TEST(RunSummary, GradientsThatExplodeOrVanish) {
  RunData run = calm_run();
  RecordMatrix& gradient = run.stability.arrays["profiles.stream.gradient_norm"];
  gradient.values[25] = 500;
  EXPECT_THAT(judged(run),
              HasSubstr("borderline: the gradient explodes on the way down: bottom / top 500 at step 500"));
  gradient.values[25] = 1e-5F;
  EXPECT_THAT(judged(run), HasSubstr("pathological: the gradient vanishes on the way down"));
}

TEST(RunSummary, ActivationsNearTheEndOfHalfPrecision) {
  RunData run = calm_run();
  column(run, "max_abs")[100] = 7000;
  EXPECT_THAT(judged(run),
              HasSubstr("borderline: activations up to 7e+03 (step 101), less than a factor of 16"));
  column(run, "max_abs")[100] = 70000;
  EXPECT_THAT(judged(run), HasSubstr("borderline: activations up to 7e+04 (step 101), beyond fp16"));
  run.manifest["compute_dtype"] = "fp16";
  EXPECT_THAT(judged(run), HasSubstr("pathological: activations up to 7e+04"));
}

TEST(RunSummary, BoundsUsedAndViolated) {
  RunData run = calm_run(1000, 2);
  run.stability.arrays["bounds.share"] = test::matrix(3, {9, 0.25, 0.25, 9, 0.5, 0.25, 9, 0.25, 0.25});
  EXPECT_THAT(judged(run), HasSubstr("regular: at most 50 % of the proved bound was used"));
  run.stability.arrays["bounds.share"].values[5] = 1.0125F;
  EXPECT_THAT(
      judged(run),
      HasSubstr("pathological: the proved bound was violated at step 500, boundary 2: 1.01 times the bound"));
}

TEST(RunSummary, SkippedStepsAndBadRanks) {
  RunData run = calm_run();
  column(run, "skipped")[10] = column(run, "skipped")[11] = 1;
  RecordMatrix norms{.columns = 4, .values = {}};
  for (int i = 0; i < 100; ++i) {
    run.ranks.steps.push_back(10 * (i + 1));
    for (int rank = 0; rank < 4; ++rank)
      norms.values.push_back(1 + 0.01F * static_cast<float>((i * 7 + rank * 3) % 5));
  }
  norms.values[4 * 80 + 3] = 5;
  run.ranks.arrays["ranks.grad_norm"] = norms;
  EXPECT_THAT(judged(run), HasSubstr("borderline: 2 steps skipped"));
  EXPECT_THAT(judged(run),
              HasSubstr("borderline: the gradient norm of rank 3 leaves those of the others in 1 record"));
}

TEST(RunSummary, ARunWithoutAStepOrWithOne) {
  EXPECT_THAT(judged(RunData{}), HasSubstr("borderline: no step has been logged"));
  RunData one = calm_run(1, 24);
  EXPECT_NO_THROW(judged(one));
}

TEST(RunSummary, TheWorstReasonComesFirst) {
  RunData run = calm_run();
  column(run, "skipped")[10] = 1;
  for (std::size_t i = 900; i < 1000; ++i) column(run, "loss")[i] = 7;
  const RunSummary summary = summarise_run(run);
  EXPECT_EQ(summary.reasons.front().level, VerdictLevel::Pathological);
  for (std::size_t i = 1; i < summary.reasons.size(); ++i) {
    EXPECT_LE(summary.reasons[i].level, summary.reasons[i - 1].level);
  }
}

}  // namespace
}  // namespace plumb

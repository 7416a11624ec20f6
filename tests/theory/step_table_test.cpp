// What the step size changes: closed forms of each row.
#include "theory/step_table.h"

#include <gtest/gtest.h>

#include <cmath>

#include "theory/probed_model.h"

namespace plumb::test {
namespace {

std::vector<StepRow> table_of(const std::string& placement, std::vector<std::string> more = {}) {
  std::vector<std::string> settings = {"model.block=['linear']", "model.blocks=64", "model.width=64",
                                       "model.init.kind=normal", "model.init.standard_deviation=0.125"};
  settings.insert(settings.end(), more.begin(), more.end());
  return step_table(placed_model(placement, settings), {.variance = 4.0});
}

TEST(StepTable, OfPeri) {
  const std::vector<StepRow> rows = table_of("peri");
  ASSERT_EQ(rows.size(), 5U);
  const double steps[] = {1, 0.5, 0.1, 0.125, 1.0 / 64};
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(rows[i].choice.step, steps[i], 1e-15);
    EXPECT_NEAR(rows[i].time, 64 * steps[i], 1e-12);
    EXPECT_NEAR(rows[i].prediction.stream.back(), 4 + 64 * steps[i] * steps[i], 1e-2);
    EXPECT_NEAR(rows[i].worst_rms, 2 + 64 * steps[i], 1e-9);
    EXPECT_GE(rows[i].worst_rms * rows[i].worst_rms, rows[i].prediction.stream.back());
  }
}

// Whatever the configuration says of b: overrides, schedules, trained and random steps.
TEST(StepTable, ReplacesEveryStep) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> models = {
      {"layerscale", {}},
      {"rezero", {}},
      {"pre", {"model.residual.b.keep_probability=0.5", "model.residual.b.keep_depth=linear"}},
      {"pre", {"model.residual.b.time=prores-linear", "model.residual.b.ramp_steps=8"}},
      {"mix-ln", {"model.residual.b.depth=1/sqrt(l)"}}};
  for (const auto& [placement, settings] : models) {
    const ModelConfig config = with_constant_step(placed_model(placement, settings), 0.25);
    for (const ResolvedSublayer& sublayer : resolve_model(config).sublayers) {
      const KnobConfig& b = sublayer.config.residual.b;
      EXPECT_EQ(b.value, 0.25) << placement;
      EXPECT_EQ(b.depth, "constant");
      EXPECT_EQ(b.time, "constant");
      EXPECT_EQ(b.trainable, "none");
      EXPECT_EQ(b.keep_probability, 1);
    }
  }
}

TEST(StepTable, HasNoWorstCaseWithoutOutNorms) {
  for (const StepRow& row : table_of("pre")) EXPECT_TRUE(std::isnan(row.worst_rms));
  for (const StepRow& row : table_of("post")) EXPECT_TRUE(std::isnan(row.worst_rms));
}

TEST(FinishedRamps, HaveNoTime) {
  const ModelConfig config = with_finished_ramps(
      placed_model("pre", {"model.residual.b.time=prores-linear", "model.residual.b.ramp_steps=8"}));
  for (const ResolvedSublayer& sublayer : resolve_model(config).sublayers) {
    EXPECT_EQ(sublayer.config.residual.b.time, "constant");
  }
}

}  // namespace
}  // namespace plumb::test

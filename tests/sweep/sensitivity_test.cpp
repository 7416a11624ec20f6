#include "sweep/sensitivity.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "session.h"
#include "sweep/summary.h"

namespace plumb {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double sensitivity(const std::vector<double>& losses, double initial) {
  return learning_rate_sensitivity(losses, std::vector<double>(losses.size(), initial));
}

// By hand: l* = 2; (3 - 2 + 2 - 2 + min(9, 5) - 2) / 3.
TEST(LearningRateSensitivity, IsTheMeanExcessOverTheBest) {
  EXPECT_DOUBLE_EQ(sensitivity({3, 2, 9}, 5), 4.0 / 3);
  EXPECT_DOUBLE_EQ(sensitivity({2, 2, 2}, 5), 0);
  EXPECT_DOUBLE_EQ(sensitivity({2}, 5), 0);
}

TEST(LearningRateSensitivity, ADivergedRunCountsAsOneThatLearntNothing) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_DOUBLE_EQ(sensitivity({3, 2, kNan}, 5), 4.0 / 3);
  EXPECT_DOUBLE_EQ(sensitivity({3, 2, infinity}, 5), 4.0 / 3);
  EXPECT_TRUE(std::isnan(sensitivity({kNan, kNan}, 5)));
}

class SensitivityOfASweep : public ::testing::Test {
 protected:
  SensitivityOfASweep()
      : plan_(make_sweep_plan({"study.toml", R"([data]
kind = "markov"
[training]
sequences_per_step = 4
[sweep]
model.placement = ["pre", "post"]
optimizer.learning_rate = [1e-3, 1e-2, 1e-1]
training.seed = [1, 2]
[sweep.cell.baseline]
model.placement = "deepnorm"
over = ["optimizer.learning_rate"]
[sweep.cell.apart]
model.placement = "none"
)"},
                              {}, "runs/study", placement_presets())) {
    for (const SweepCell& cell : plan_.cells) {
      const double rate = cell.loaded.config.optimizer.learning_rate;
      const double seed = static_cast<double>(cell.loaded.config.training.seed);
      progress_.push_back({.state = CellState::Finished,
                           .step = 1000,
                           .initial_loss = 5,
                           .training_loss = rate == 0.1 ? 9 : rate * 100 + seed,
                           .validation_loss = kNan});
    }
  }
  SweepPlan plan_;
  std::vector<CellProgress> progress_;
};

TEST_F(SensitivityOfASweep, IsPerPlaceOnTheOtherAxes) {
  const std::vector<SensitivityOfCells> list = learning_rate_sensitivities(plan_, progress_);
  ASSERT_EQ(list.size(), 5u) << "two placements by two seeds, and the baseline";
  EXPECT_EQ(list[0].places, (std::vector<std::string>{"pre", "1"}));
  EXPECT_EQ(list[1].places, (std::vector<std::string>{"pre", "2"}));
  EXPECT_EQ(list[4].places, (std::vector<std::string>{"baseline", "baseline"}));
  EXPECT_EQ(list[0].rates, (std::vector<double>{1e-3, 1e-2, 1e-1}));
  // Losses 1.1, 2, 9 of which the last one counts as 5.
  EXPECT_DOUBLE_EQ(list[0].value, (0 + 0.9 + 3.9) / 3);
  EXPECT_EQ(list[0].best_rate, 1e-3);
  EXPECT_FALSE(list[0].is_validation);
}

TEST_F(SensitivityOfASweep, TakesTheValidationLossWhereAllHaveOne) {
  for (std::size_t i = 0; i < 6; ++i) progress_[i].validation_loss = 4 - static_cast<double>(i / 2);
  progress_[7].validation_loss = 3;
  const std::vector<SensitivityOfCells> list = learning_rate_sensitivities(plan_, progress_);
  EXPECT_TRUE(list[0].is_validation);
  EXPECT_DOUBLE_EQ(list[0].value, (2.0 + 1 + 0) / 3);
  EXPECT_EQ(list[0].best_rate, 1e-1);
  EXPECT_FALSE(list[2].is_validation) << "one of three is not enough";
}

TEST_F(SensitivityOfASweep, WaitsForTheLastCell) {
  progress_[2].state = CellState::Begun;
  const std::vector<SensitivityOfCells> list = learning_rate_sensitivities(plan_, progress_);
  EXPECT_TRUE(std::isnan(list[0].value));
  EXPECT_FALSE(std::isnan(list[1].value));
}

TEST_F(SensitivityOfASweep, JsonHoldsCellsAndSensitivities) {
  std::vector<CellOutcome> outcomes;
  for (const CellProgress& progress : progress_)
    outcomes.push_back({.progress = progress, .status = 0, .seconds = 1});
  outcomes[3].status = 2;
  const auto json =
      nlohmann::json::parse(sweep_json(plan_, outcomes, learning_rate_sensitivities(plan_, progress_)));
  EXPECT_EQ(json["config"], "study.toml");
  ASSERT_EQ(json["cells"].size(), 16u);
  const auto& cell = json["cells"][3];
  EXPECT_EQ(cell["name"], "pre_learning_rate=0.01_seed=2");
  EXPECT_EQ(cell["run"], "runs/study/pre_learning_rate=0.01_seed=2");
  EXPECT_EQ(cell["settings"]["optimizer.learning_rate"], 0.01);
  EXPECT_EQ(cell["settings"]["model.placement"], "pre");
  EXPECT_EQ(cell["places"]["training.seed"], "2");
  EXPECT_EQ(cell["state"], "failed");
  EXPECT_EQ(json["cells"][0]["state"], "finished");
  EXPECT_TRUE(cell["validation_loss"].is_null());
  EXPECT_EQ(json["axes"][0]["values"], (nlohmann::json{"pre", "post"}));
  ASSERT_EQ(json["learning_rate_sensitivity"].size(), 5u);
  EXPECT_DOUBLE_EQ(json["learning_rate_sensitivity"][0]["value"].get<double>(), 1.6);
  EXPECT_EQ(json["learning_rate_sensitivity"][0]["places"]["model.placement"], "pre");
}

TEST_F(SensitivityOfASweep, SlurmScriptHasALinePerCell) {
  const std::string script = slurm_script(plan_);
  EXPECT_THAT(script, ::testing::StartsWith("#!/usr/bin/env bash\n"));
  EXPECT_THAT(script, ::testing::HasSubstr("#SBATCH --array=0-15\n"));
  EXPECT_THAT(script, ::testing::HasSubstr("\n  'runs/study/cells/pre_learning_rate=0.01_seed=2.toml'\n"));
  EXPECT_THAT(script, ::testing::HasSubstr("exec launch/slurm.sh \"${lines[$SLURM_ARRAY_TASK_ID]}\"\n"));
}

}  // namespace
}  // namespace plumb

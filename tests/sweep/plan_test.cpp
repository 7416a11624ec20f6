// [sweep] and the cells that it expands to.
#include "sweep/plan.h"

#include <gmock/gmock.h>

#include "checkpoint/temporary_folder.h"
#include "config/changes.h"
#include "config/schema.h"
#include "session.h"

namespace plumb {
namespace {

using plumb::testing::input_error_of;
using plumb::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kBase = R"([model]
blocks = 2
width = 16
heads = 2
[data]
kind = "markov"
[training]
sequences_per_step = 4
)";

SweepPlan plan_of(const std::string& sweep, const std::vector<std::string>& overrides = {}) {
  return make_sweep_plan({"study.toml", kBase + sweep}, overrides, "runs/study", placement_presets());
}

std::vector<std::string> names_of(const SweepPlan& plan) {
  std::vector<std::string> names;
  for (const SweepCell& cell : plan.cells) names.push_back(cell.name);
  return names;
}

TEST(SweepPlan, AxesMultiplyTheFirstSlowest) {
  const SweepPlan plan = plan_of(R"([sweep]
model.placement = ["pre", "post"]
optimizer.learning_rate = [1e-3, 0.01]
training.seed = [1, 2]
)");
  EXPECT_THAT(names_of(plan),
              ElementsAre("pre_learning_rate=0.001_seed=1", "pre_learning_rate=0.001_seed=2",
                          "pre_learning_rate=0.01_seed=1", "pre_learning_rate=0.01_seed=2",
                          "post_learning_rate=0.001_seed=1", "post_learning_rate=0.001_seed=2",
                          "post_learning_rate=0.01_seed=1", "post_learning_rate=0.01_seed=2"));
  const Config& config = plan.cells[6].loaded.config;
  EXPECT_EQ(config.model.placement, "post");
  EXPECT_EQ(config.model.base.norm.post.kind, "standard");
  EXPECT_EQ(config.optimizer.learning_rate, 0.01);
  EXPECT_EQ(config.training.seed, 1u);
  EXPECT_EQ(config.model.width, 16);
  EXPECT_EQ(config.run.dir, "runs/study/post_learning_rate=0.01_seed=1");
  EXPECT_EQ(config.run.name, "post_learning_rate=0.01_seed=1");
  EXPECT_EQ(plan.cells[6].loaded.origin("optimizer.learning_rate"), "study.toml:11");
  EXPECT_EQ(plan.axes.size(), 3u);
  EXPECT_EQ(plan.cells[6].place(1), "0.01");
}

TEST(SweepPlan, AxesStandInTheOrderOfTheFile) {
  const SweepPlan plan = plan_of(R"([sweep]
training.seed = [1, 2]
model.blocks = [1, 2]
training.steps = [3, 4]
)");
  EXPECT_THAT(names_of(plan),
              ElementsAre("seed=1_blocks=1_steps=3", "seed=1_blocks=1_steps=4", "seed=1_blocks=2_steps=3",
                          "seed=1_blocks=2_steps=4", "seed=2_blocks=1_steps=3", "seed=2_blocks=1_steps=4",
                          "seed=2_blocks=2_steps=3", "seed=2_blocks=2_steps=4"));
}

TEST(SweepPlan, NamedChoicesSetSeveralKeys) {
  const SweepPlan plan = plan_of(R"toml([sweep]
model.placement = ["pre"]
[sweep.axis.schedule]
none = {}
"1/sqrt(L)" = {model.residual.b = {depth = "1/sqrt(L)", counts = "blocks"}}
[sweep.axis.schedule.slow]
model.residual.b.time = "linear"
model.residual.b.ramp_steps = 100
training.steps = 300
)toml");
  ASSERT_THAT(names_of(plan), ElementsAre("pre_none", "pre_1-sqrt-L-", "pre_slow"));
  EXPECT_EQ(plan.cells[0].loaded.config.model.base.residual.b, KnobConfig());
  EXPECT_EQ(plan.cells[1].loaded.config.model.base.residual.b.depth, "1/sqrt(L)");
  EXPECT_EQ(plan.cells[2].loaded.config.model.base.residual.b.ramp_steps, 100);
  EXPECT_EQ(plan.cells[2].loaded.config.training.steps, 300);
  EXPECT_EQ(plan.cells[2].settings.back().key, "training.steps");
}

TEST(SweepPlan, TablesMayBeValues) {
  const SweepPlan plan = plan_of(R"([sweep]
model.residual.b = [{value = 0.5}, {depth = "1/L"}]
model.block = [["attention", "ffn"], ["ffn", "attention"]]
)");
  ASSERT_EQ(plan.cells.size(), 4u);
  EXPECT_EQ(plan.cells[0].name, "b=1_block=1");
  EXPECT_EQ(plan.cells[0].loaded.config.model.base.residual.b.value, 0.5);
  EXPECT_EQ(plan.cells[3].loaded.config.model.base.residual.b.depth, "1/L");
  EXPECT_EQ(plan.cells[3].loaded.config.model.block, (std::vector<std::string>{"ffn", "attention"}));
}

TEST(SweepPlan, AxesThatEndAlikeAreCalledByTheirWholeKey) {
  const SweepPlan plan = plan_of(R"([sweep]
model.norm.qk.kind = ["none", "rmsnorm"]
model.norm.v.kind = ["none", "l2"]
)");
  EXPECT_EQ(plan.cells[1].name, "model.norm.qk.kind=none_model.norm.v.kind=l2");
}

TEST(SweepPlan, CellsOfTheirOwnAreCrossedWithTheAxesTheyName) {
  const SweepPlan plan = plan_of(R"([sweep]
model.placement = ["pre", "post"]
training.seed = [1, 2]
[sweep.cell.baseline]
model.placement = "deepnorm"
model.init.kind = "deepnorm"
over = ["training.seed"]
[sweep.cell.alone]
model.blocks = 1
)");
  EXPECT_THAT(names_of(plan), ElementsAre("pre_seed=1", "pre_seed=2", "post_seed=1", "post_seed=2",
                                          "baseline_seed=1", "baseline_seed=2", "alone"));
  EXPECT_EQ(plan.cells[5].loaded.config.model.placement, "deepnorm");
  EXPECT_EQ(plan.cells[5].loaded.config.training.seed, 2u);
  EXPECT_EQ(plan.cells[5].place(0), "baseline");
  EXPECT_EQ(plan.cells[5].place(1), "2");
  EXPECT_EQ(plan.cells[6].loaded.config.training.seed, 1u) << "the base's";
}

TEST(SweepPlan, OverridesAreOfAllCells) {
  const SweepPlan plan = plan_of("[sweep]\ntraining.seed = [1, 2]\n", {"training.steps=7"});
  for (const SweepCell& cell : plan.cells) EXPECT_EQ(cell.loaded.config.training.steps, 7);
}

TEST(SweepPlan, FilesOfCellsAreWholeConfigurations) {
  const TemporaryFolder folder;
  const SweepPlan plan = make_sweep_plan({"study.toml", std::string(kBase) + R"([sweep]
model.placement = ["pre", "mix-ln"]
model.residual.b.value = [1.0, 0.5]
)"},
                                         {}, folder.path(), placement_presets());
  write_cell_files(plan);
  for (const SweepCell& cell : plan.cells) {
    const Config loaded = load_config(std::vector{cell.file}, {}, placement_presets()).config;
    EXPECT_EQ(settings_text(loaded), settings_text(cell.loaded.config)) << cell.name;
  }
}

TEST(SweepPlan, FaultsGiveOneLineWithFileAndLine) {
  struct Case {
    const char* sweep;
    const char* expected;
  };
  // [sweep] is line 9.
  const std::vector<Case> cases = {
      {"", "study.toml: there is no table [sweep]"},
      {"[sweep]\n", "study.toml: [sweep] has neither an axis"},
      {"[sweep]\nmodel.plcement = [\"pre\"]\n",
       "study.toml:10: unknown key 'model.plcement'; did you mean 'model.placement'?"},
      {"[sweep]\n\noptimiser.learning_rate = [1]\n",
       "study.toml:11: unknown key 'optimiser.learning_rate'; did you mean 'optimizer.learning_rate'?"},
      {"[sweep]\nmodel.blocks = 3\n",
       "study.toml:10: an axis is a list of values, found the whole number 3 for model.blocks"},
      {"[sweep]\nmodel.blocks = []\n", "study.toml:10: the axis model.blocks has no values"},
      {"[sweep]\nmodel.blocks = [1, \"two\"]\n", "study.toml:10: model.blocks wants a whole number"},
      {"[sweep]\nmodel.blocks = [1,\n  0]\n", "study.toml:11: model.blocks = 0 is not allowed"},
      {"[sweep]\nmodel.blocks = [1, 1]\n",
       "study.toml:10: two values of the axis model.blocks are called 'blocks=1'"},
      {"[sweep]\nmodel.placement = [\"pre\", \"perri\"]\n",
       "study.toml:10: unknown placement 'perri'; did you mean 'peri'?"},
      {"[sweep]\nrun.dir = [\"a\"]\n", "study.toml:10: the sweep itself sets run.dir"},
      {"[sweep]\nmodel.residual.b.value = [1.0]\n[sweep.axis.s]\nx = {model.residual.b = {value = 2.0}}\n",
       "study.toml:11: s sets model.residual.b.value, which the axis model.residual.b.value (line 10) sets "
       "too"},
      {"[sweep]\nmodel.residual.b = [0.5]\nmodel.residual.b.value = [1.0]\n",
       "study.toml:11: not valid TOML"},
      {"[sweep.axis.s]\nx = {modle.blocks = 1}\n",
       "study.toml:10: unknown key 'modle.blocks'; did you mean 'model.blocks'?"},
      {"[sweep.axis.s]\nx = 1\n", "study.toml:10: 's.x' is a table, found the whole number 1"},
      {"[sweep]\ntraining.seed = [1]\n[sweep.cell.c]\nmodel.blocks = 1\nover = [\"training.sed\"]\n",
       "study.toml:11: `over` names the unknown axis 'training.sed'; did you mean 'training.seed'?"},
      {"[sweep]\ntraining.seed = [1]\n[sweep.cell.c]\ntraining.seed = 3\nover = [\"training.seed\"]\n",
       "study.toml:11: c sets training.seed, which the axis training.seed (line 10) sets too"},
      {"[sweep]\nmodel.placement = [\"pre\"]\n[sweep.cell.pre]\nmodel.blocks = 1\n",
       "two things would be called 'pre'"},
      {"[sweep.axis.s]\n\"..\" = {}\n", "study.toml: '..' cannot name a run's folder"},
      {"[sweep.axis.s]\n\"\" = {}\n", "study.toml:9: a choice of the axis s has no name"},
      {"[sweep.cell.cells]\nmodel.blocks = 1\n", "two things would be called 'cells'"},
  };
  for (const Case& wrong : cases) {
    const std::string message = input_error_of([&] { plan_of(wrong.sweep); });
    EXPECT_THAT(message, AllOf(HasSubstr(wrong.expected), Not(HasSubstr("\n")))) << wrong.sweep;
  }
}

TEST(SweepPlan, OverridesThatTheSweepSetsAreRefused) {
  const std::string sweep = "[sweep]\ntraining.seed = [1, 2]\n";
  EXPECT_THAT(input_error_of([&] { plan_of(sweep, {"training.seed=3"}); }),
              HasSubstr("--set training.seed=3: an axis of the sweep sets training.seed"));
  EXPECT_THAT(input_error_of([&] { plan_of(sweep, {"run.dir=x"}); }), HasSubstr("--output"));
}

TEST(SweepPlan, TrainingASweepSaysHowToStartIt) {
  EXPECT_THAT(input_error_of([] {
                load_config(std::vector<ConfigSource>{{"study.toml",
                                                       std::string(kBase) + "[sweep]\nmodel.blocks = [1]\n"}},
                            {}, placement_presets());
              }),
              AllOf(HasSubstr("study.toml:9"), HasSubstr("plumb sweep")));
}

}  // namespace
}  // namespace plumb

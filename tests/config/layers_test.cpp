// Layers of a configuration: who wins, and what the origins say.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "config/fixture.h"

namespace plumb {
namespace {

TEST(ConfigLayers, DefaultsWhereNothingIsSet) {
  const LoadedConfig loaded = load_text(minimal());
  EXPECT_EQ(loaded.config.model.width, 64);
  EXPECT_EQ(loaded.config.optimizer.beta2, 0.95);
  EXPECT_EQ(loaded.config.model.base.residual.e.value, 0);
  EXPECT_EQ(loaded.origin("model.width"), "default");
  EXPECT_TRUE(loaded.warnings.empty());
}

TEST(ConfigLayers, ThePlacementRowLiesAboveTheDefaults) {
  const LoadedConfig loaded = load_text(minimal());
  EXPECT_EQ(loaded.config.model.base.norm.in.kind, "standard");
  EXPECT_EQ(loaded.config.model.final_norm.kind, "standard");
  EXPECT_EQ(loaded.config.model.base.norm.post.kind, "none");
  EXPECT_EQ(loaded.origin("model.norm.in.kind"), "placement peri");
  EXPECT_EQ(loaded.origin("model.norm.post.kind"), "default");
}

TEST(ConfigLayers, FilesWinOverThePlacementAndLaterFilesOverEarlierOnes) {
  const std::vector<ConfigSource> sources = {
      {"base.toml", minimal() + "model.norm.in.kind = 'l2'\nmodel.width = 32\nmodel.blocks = 3\n"},
      {"more.toml", "# only a comment\n"},
      {"study.toml", "[model]\nwidth = 48\n"}};
  const LoadedConfig loaded = load_config(sources, {}, test_presets());
  EXPECT_EQ(loaded.config.model.base.norm.in.kind, "l2");
  EXPECT_EQ(loaded.config.model.base.norm.out.kind, "standard");
  EXPECT_EQ(loaded.config.model.width, 48);
  EXPECT_EQ(loaded.config.model.blocks, 3);
  EXPECT_EQ(loaded.origin("model.norm.in.kind"), "base.toml:4");
  EXPECT_EQ(loaded.origin("model.width"), "study.toml:2");
  EXPECT_EQ(loaded.origin("model.blocks"), "base.toml:6");
}

TEST(ConfigLayers, SetWinsAndTheLastSetOfAKey) {
  const LoadedConfig loaded =
      load_text(minimal() + "model.width = 32\n", {"model.width=16", "model.width = 24"});
  EXPECT_EQ(loaded.config.model.width, 24);
  EXPECT_EQ(loaded.origin("model.width"), "--set");
}

TEST(ConfigLayers, SetTakesTomlAndBareWords) {
  const LoadedConfig loaded = load_text(
      minimal(),
      {"model.causal=false", "model.block=['attention', 'linear']", "optimizer.learning_rate=3e-4",
       "model.placement=none", "run.name=\"quoted name\"", "model.residual.b.depth=1/sqrt(L)",
       "model.residual.b.value=2", "run.dir=runs/2025", "model.norm.out={kind = 'l2', epsilon = 0.5}"});
  EXPECT_FALSE(loaded.config.model.causal);
  EXPECT_EQ(loaded.config.model.block, (std::vector<std::string>{"attention", "linear"}));
  EXPECT_EQ(loaded.config.optimizer.learning_rate, 3e-4);
  EXPECT_EQ(loaded.config.model.placement, "none");
  EXPECT_EQ(loaded.config.run.name, "quoted name");
  EXPECT_EQ(loaded.config.model.base.residual.b.depth, "1/sqrt(L)");
  EXPECT_EQ(loaded.config.model.base.residual.b.value, 2.0);
  EXPECT_EQ(loaded.config.run.dir, "runs/2025");
  EXPECT_EQ(loaded.config.model.base.norm.out.kind, "l2");
  EXPECT_EQ(loaded.config.model.base.norm.out.epsilon, 0.5);
  // A string key takes text that happens to be another TOML value.
  EXPECT_EQ(load_text(minimal(), {"run.name=2025"}).config.run.name, "2025");
  EXPECT_EQ(load_text(minimal(), {"run.name=2025-01-31"}).config.run.name, "2025-01-31");
  EXPECT_EQ(load_text(minimal(), {"run.dir="}).config.run.dir, "");
}

TEST(ConfigLayers, ThePlacementMayComeFromAnyLayer) {
  const LoadedConfig by_set = load_text(minimal() + "model.placement = 'peri'\n", {"model.placement=none"});
  EXPECT_EQ(by_set.config.model.base.norm.in.kind, "none");
  EXPECT_EQ(by_set.origin("model.norm.in.kind"), "default");
  const LoadedConfig by_file = load_text(minimal() + "model.placement = 'two-halves'\n");
  EXPECT_EQ(by_file.config.model.base.residual.b.value, 0.5);
  EXPECT_EQ(by_file.origin("model.residual.b.value"), "placement two-halves");
  ASSERT_EQ(by_file.config.model.overrides.size(), 2U);
  EXPECT_EQ(by_file.config.model.overrides[0].origin, "placement two-halves");
}

TEST(ConfigLayers, EmptyFilesAreFine) {
  const std::vector<ConfigSource> sources = {{"empty.toml", ""}, {"comments.toml", "# nothing\n\n# here"}};
  const LoadedConfig loaded =
      load_config(sources, {"data.kind=markov", "training.sequences_per_step=4"}, test_presets());
  EXPECT_EQ(loaded.config.training.sequences_per_step, 4);
}

TEST(ConfigLayers, ReadsFiles) {
  const auto path = std::filesystem::temp_directory_path() / "plumb_config_layers_test.toml";
  std::ofstream(path) << minimal() << "model.width = 32\n";
  const LoadedConfig loaded = load_config(std::vector<std::filesystem::path>{path}, {}, test_presets());
  EXPECT_EQ(loaded.config.model.width, 32);
  EXPECT_EQ(loaded.origin("model.width"), path.string() + ":4");
  std::filesystem::remove(path);
}

TEST(ConfigLayers, Warnings) {
  EXPECT_THAT(load_text(minimal() + "model.causal = false\n").warnings,
              testing::ElementsAre(testing::StartsWith("configs/x.toml:4: model.causal = false lets")));
  EXPECT_THAT(load_text(minimal() + "learning_rate.warmup_steps = 1000\n").warnings,
              testing::ElementsAre(testing::HasSubstr("does not end within training.steps = 1000")));
}

}  // namespace
}  // namespace plumb

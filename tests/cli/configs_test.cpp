// Every configuration under configs/ loads with the placements of this build and divides over ranks; every
// placement has a preset; the cells of sweeps do so too, and those of GPT-2 XL have its shape.
#include <gtest/gtest.h>

#include <set>

#include "config/batch.h"
#include "config/load.h"
#include "configurations.h"
#include "nn/placement.h"
#include "nn/transformer.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;

void check(const LoadedConfig& loaded) {
  for (const std::string& warning : loaded.warnings) ADD_FAILURE() << warning;
  for (const int world : {1, 2}) EXPECT_GE(check_batch(loaded, world).accumulation, 1);
}

LoadedConfig load(const std::vector<fs::path>& files) {
  LoadedConfig loaded = load_config(files, {}, {placement_settings, placement_names});
  check(loaded);
  EXPECT_TRUE(loaded.config.run.dir.empty()) << "a relative default folder, so that files do not collide";
  return loaded;
}

class Configuration : public ::testing::TestWithParam<fs::path> {};

TEST_P(Configuration, LoadsAndDividesOverOneAndTwoRanks) {
  EXPECT_EQ(load({GetParam()}).config.run.name, GetParam().stem().string());
}

INSTANTIATE_TEST_SUITE_P(Folder, Configuration, ::testing::ValuesIn(whole_configurations()),
                         [](const auto& test) { return test_name(test.param.stem().string()); });

class Cell : public ::testing::TestWithParam<SweepCell> {};

TEST_P(Cell, LoadsAndDividesOverOneAndTwoRanks) { check(GetParam().loaded); }

INSTANTIATE_TEST_SUITE_P(Sweep, Cell, ::testing::ValuesIn(small_cells()),
                         [](const auto& test) { return test_name(test.param.name); });

class Gpt2XlCell : public ::testing::TestWithParam<SweepCell> {};

// Declared, not allocated. GPT-2 XL has 1 557 611 200 parameters; what its cells differ in are the norms (2
// for each of 96 sublayers under peri, else 1; a final one but under post; a gain, and a bias with layernorm,
// of 1600 numbers) and, in ProRes, a head of its own.
TEST_P(Gpt2XlCell, HasTheShapeOfGpt2Xl) {
  check(GetParam().loaded);
  const ModelConfig& model = GetParam().loaded.config.model;
  EXPECT_EQ(model.blocks, 48);
  EXPECT_EQ(model.width, 1600);
  EXPECT_EQ(model.heads, 25);
  ParameterStore store;
  const Transformer transformer(model, model.vocabulary, {.batch = 1, .tokens = model.sequence_length},
                                store);
  std::int64_t parameters = 0;
  for (const Parameter& parameter : store.all()) parameters += parameter.shape.elements();
  const std::int64_t without_norms = 1557611200 - 97 * 2 * 1600;
  const bool prores = GetParam().name.starts_with("prores");
  const std::int64_t final_norms = prores || model.placement != "post" ? 1 : 0;
  const std::int64_t norms = (model.placement == "peri" ? 192 : 96) + final_norms;
  EXPECT_EQ(parameters, without_norms + norms * (prores ? 1 : 2) * 1600 + (prores ? 50257 * 1600 : 0));
}

INSTANTIATE_TEST_SUITE_P(Sweep, Gpt2XlCell, ::testing::ValuesIn(gpt2_xl_cells()),
                         [](const auto& test) { return test_name(test.param.name); });

// Kan et al.: four steps under three placements. ProRes: its 18 rows under three placements, and two
// baselines.
TEST(Configurations, SweepsAreWhole) {
  EXPECT_EQ(small_cells().size(), 3U * 4U + 3U * 18U + 2U);
  EXPECT_EQ(gpt2_xl_cells().size(), small_cells().size());
}

// 3 placements x 3 steps x 5 seeds, which see the same tokens at the same rates, on one thread each.
TEST(Configurations, CellsOfPlacementsDifferInPlacementStepAndSeedAlone) {
  const std::vector<SweepCell> cells = cells_of({"placements"});
  EXPECT_EQ(cells.size(), 45U);
  for (const SweepCell& cell : cells) {
    check(cell.loaded);
    EXPECT_EQ(cell.loaded.config.model.blocks, 24);
    EXPECT_EQ(cell.loaded.config.compute.threads, 1);
    for (const SweepSetting& setting : cell.settings) {
      EXPECT_TRUE(setting.key == "model.placement" || setting.key == "training.seed" ||
                  setting.key.starts_with("model.residual.b"))
          << setting.key;
    }
  }
}

TEST(Configurations, ThoseThatTheReadmeNamesAreThere) {
  for (const char* name : {"quickstart.toml", "king-james.toml"}) {
    EXPECT_TRUE(fs::exists(configs_folder() / name)) << name;
  }
}

TEST(Configurations, EveryPlacementHasAPreset) {
  for (const Placement& row : placements()) {
    const fs::path path = configs_folder() / "presets" / (std::string(row.name) + ".toml");
    ASSERT_TRUE(fs::exists(path)) << path << " is missing; it runs the placement on the sample text";
    EXPECT_EQ(load({path}).config.model.placement, row.name);
  }
}

}  // namespace
}  // namespace plumb::test

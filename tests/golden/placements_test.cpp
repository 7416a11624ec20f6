// Every row of nn/placement.h against float64 PyTorch models written from the published formulas (README.md),
// on every backend (golden_compare.h says how).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

#include "config/load.h"
#include "core/error.h"
#include "golden/golden_case.h"
#include "golden/golden_compare.h"
#include "nn/placement.h"

namespace plumb::golden {
namespace {

const std::filesystem::path kFolder =
    std::filesystem::path(PLUMB_SOURCE_DIR) / "tests" / "golden" / "placements";

std::filesystem::path file_of(const std::string& name) { return kFolder / (name + ".safetensors"); }

/// The rows, and whatever else the folder has: variants of rows.
std::set<std::string> cases() {
  std::set<std::string> names;
  for (const Placement& placement : placements()) names.emplace(placement.name);
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".safetensors") names.insert(entry.path().stem().string());
  }
  return names;
}

/// common.toml with the placement and the settings that the file was made for.
Config config_of(const GoldenFile& golden) {
  std::vector<std::string> settings = {"model.placement=" + golden.file().metadata().at("placement")};
  std::istringstream words(golden.file().metadata().at("settings"));
  for (std::string word; words >> word;) settings.push_back(word);
  return load_config(std::vector<std::filesystem::path>{kFolder / "common.toml"}, settings,
                     PresetProvider{placement_settings, placement_names})
      .config;
}

class GoldenPlacement : public ::testing::TestWithParam<std::tuple<std::string, Platform>> {};

TEST_P(GoldenPlacement, AgreesWithPyTorch) {
  const auto& [name, platform] = GetParam();
  ASSERT_TRUE(std::filesystem::exists(file_of(name)))
      << "placement " << name
      << " has no golden file; write its formula into tests/golden/placements and run "
      << "tests/golden/placements/make_golden_placements.py (tests/golden/README.md)";
  const GoldenFile golden(file_of(name));
  expect_agreement(config_of(golden), golden, platform);
}

INSTANTIATE_TEST_SUITE_P(Rows, GoldenPlacement,
                         ::testing::Combine(::testing::ValuesIn(cases()), ::testing::ValuesIn(platforms())),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return fmt::format("{}_{}", name, name_of(std::get<1>(info.param)));
                         });

TEST(GoldenPlacements, EveryFileIsOfARow) {
  for (const std::string& name : cases()) {
    if (!std::filesystem::exists(file_of(name))) continue;  // the test above fails
    const std::string placement = GoldenFile(file_of(name)).file().metadata().at("placement");
    EXPECT_NE(find_placement(placement), nullptr) << name << " is of placement " << placement;
    EXPECT_TRUE(name == placement || name.starts_with(placement + "-"))
        << name << " is of placement " << placement;
  }
}

// The tests above must be able to see a wrong gradient: no tensor's is near zero, but for those that are zero
// by analysis from end to end.
TEST(GoldenPlacements, NoGradientIsTrivial) {
  for (const std::string& name : cases()) {
    if (!std::filesystem::exists(file_of(name))) continue;
    const GoldenFile golden(file_of(name));
    const double whole = whole_gradient_norm(golden);
    std::map<std::string, std::size_t> zeros;
    for (const ZeroSpan& span : golden.zero_spans()) zeros[span.name] += span.last - span.first;
    for (const std::string& parameter : golden.names("gradient")) {
      const Values gradient = golden.values("gradient/" + parameter);
      if (zeros[parameter] == gradient.size()) continue;
      EXPECT_GT(norm_of(gradient), kGradientFloor * whole) << name << ": " << parameter;
    }
  }
}

}  // namespace
}  // namespace plumb::golden

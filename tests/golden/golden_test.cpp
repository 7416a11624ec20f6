// The engine against float64 PyTorch (README.md), on every backend (golden_compare.h says how).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "config/load.h"
#include "core/error.h"
#include "golden/golden_case.h"
#include "golden/golden_compare.h"
#include "nn/placement.h"

namespace plumb::golden {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(PLUMB_SOURCE_DIR) / "tests" / "golden";

const char* const kCases[] = {"none",
                              "pre",
                              "post",
                              "peri",
                              "custom",
                              "linear",
                              "no_biases",
                              "activation_gelu",
                              "activation_gelu_tanh",
                              "activation_relu",
                              "activation_relu_squared",
                              "activation_silu",
                              "activation_swiglu",
                              "activation_geglu"};

class Golden : public ::testing::TestWithParam<std::tuple<const char*, Platform>> {};

TEST_P(Golden, AgreesWithPyTorch) {
  const auto [name, platform] = GetParam();
  const LoadedConfig loaded =
      load_config(std::vector<std::filesystem::path>{kFolder / fmt::format("{}.toml", name)}, {},
                  PresetProvider{placement_settings, placement_names});
  expect_agreement(loaded.config, GoldenFile(kFolder / fmt::format("{}.safetensors", name)), platform);
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(platforms())),
                         [](const auto& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param),
                                              name_of(std::get<1>(info.param)));
                         });

TEST(GoldenFiles, EveryFileIsACase) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".safetensors") found.insert(entry.path().stem().string());
  }
  EXPECT_EQ(found, std::set<std::string>(std::begin(kCases), std::end(kCases)));
}

// The tests above must be able to see a wrong gradient anywhere: the custom case leaves none near zero.
TEST(GoldenFiles, NoGradientOfTheCustomCaseIsTrivial) {
  const GoldenFile golden(kFolder / "custom.safetensors");
  EXPECT_TRUE(golden.zero_spans().empty());
  for (const std::string& name : golden.names("gradient")) {
    EXPECT_GT(norm_of(golden.values("gradient/" + name)), kGradientFloor * whole_gradient_norm(golden))
        << name;
  }
}

}  // namespace
}  // namespace plumb::golden

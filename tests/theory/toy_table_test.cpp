// The toy table of docs/check.md on models of `linear` sublayers as they are drawn. Five seeds; `plumb check`
// measures the same (tests/cli/check_test.cpp).
#include <gtest/gtest.h>

#include <cmath>

#include "theory/depth_prediction.h"
#include "theory/probed_model.h"

namespace plumb::test {
namespace {

struct Toy {
  std::string name, placement;
  std::vector<std::string> settings;
  double exponent, tolerance;  ///< p = log2(Var_96 / Var_48), mean of five seeds
  GrowthClass growth_class;
};

class ToyTable : public ::testing::TestWithParam<Toy> {};

TEST_P(ToyTable, ComesOut) {
  std::vector<std::string> settings = {"model.block=['linear']",
                                       "model.blocks=96",
                                       "model.width=192",
                                       "model.sequence_length=8",
                                       "model.position=none",
                                       "model.init.kind=normal",
                                       "model.init.projection_scale=none",
                                       "model.init.standard_deviation=0.07216878364870323",
                                       "model.init.embedding_standard_deviation=1"};
  settings.insert(settings.end(), GetParam().settings.begin(), GetParam().settings.end());
  const ModelConfig config = placed_model(GetParam().placement, settings);
  double exponent = 0;
  std::vector<double> logs(97, 0.0);
  constexpr int kSeeds = 5;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    ProbedModel model(config, 1, static_cast<std::uint64_t>(seed));
    model.forward();
    std::vector<double> variance;
    for (std::int64_t k = 0; k <= 96; ++k) variance.push_back(model.entry_variance(model.stream(k)));
    exponent += doubling_exponent(variance) / kSeeds;
    for (std::size_t k = 0; k < logs.size(); ++k) logs[k] += std::log(variance[k]) / kSeeds;
  }
  for (double& value : logs) value = std::exp(value);
  EXPECT_NEAR(exponent, GetParam().exponent, GetParam().tolerance);
  const Growth growth = classify_growth(logs);
  EXPECT_EQ(growth_class_name(growth.growth_class), growth_class_name(GetParam().growth_class))
      << growth_basis(growth);
}

INSTANTIATE_TEST_SUITE_P(
    Rows, ToyTable,
    ::testing::Values(
        Toy{"pre", "pre", {}, 0.96, 0.15, GrowthClass::Linear},
        Toy{"peri", "peri", {}, 0.95, 0.15, GrowthClass::Linear},
        Toy{"correlated", "pre", {"model.init.depth_correlation=0.9"}, 2.05, 0.15, GrowthClass::Quadratic},
        Toy{"growing_pre",
            "pre",
            {"model.init.depth=depth-growing", "model.init.depth_growth=1.045"},
            6.15,
            0.3,
            GrowthClass::Exponential},
        Toy{"growing_peri",
            "peri",
            {"model.init.depth=depth-growing", "model.init.depth_growth=1.045"},
            0.95,
            0.15,
            GrowthClass::Linear}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace plumb::test

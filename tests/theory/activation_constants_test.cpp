// The constants of every activation on a grid.
#include "theory/activation_constants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace plumb::test {
namespace {

class Activation : public ::testing::TestWithParam<ActivationConstants> {};

TEST_P(Activation, SlopeIsTheDerivative) {
  for (double t = -6.03; t < 6; t += 0.11) {
    const double h = 1e-6;
    EXPECT_NEAR((GetParam().value(t + h) - GetParam().value(t - h)) / (2 * h), GetParam().slope(t), 1e-7)
        << t;
  }
}

TEST_P(Activation, LipschitzConstantIsTheLargestSlope) {
  double largest = 0;
  for (double t = -10; t < 10; t += 1e-4) largest = std::max(largest, std::abs(GetParam().slope(t)));
  if (std::isinf(GetParam().lipschitz)) return;
  EXPECT_LE(largest, GetParam().lipschitz);
  EXPECT_NEAR(largest, GetParam().lipschitz, 1e-4);
}

TEST_P(Activation, GrowthHolds) {
  for (double t = -50; t < 50; t += 0.01) {
    const double limit = GetParam().growth == ActivationGrowth::Square ? t * t : std::abs(t);
    EXPECT_LE(std::abs(GetParam().value(t)), limit * (1 + 1e-15)) << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, Activation, ::testing::ValuesIn(activation_constants()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Activations, EveryKindHasARow) {
  using enum ActivationKind;
  for (const ActivationKind kind : {Gelu, GeluTanh, Relu, ReluSquared, Silu, SwiGlu, GeGlu}) {
    const ActivationConstants& row = constants_of(kind);
    EXPECT_EQ(row.kind, kind);
    EXPECT_EQ(row.growth == ActivationGrowth::Product, is_gated(kind));
  }
}

}  // namespace
}  // namespace plumb::test

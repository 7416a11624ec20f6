// Moments with closed forms, and the others against sums over many draws.
#include "theory/gaussian_moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "core/rng.h"

namespace plumb::test {
namespace {

TEST(GaussianMean, OfPolynomials) {
  EXPECT_NEAR(gaussian_mean([](double) { return 1.0; }), 1, 1e-12);
  EXPECT_NEAR(gaussian_mean([](double n) { return n * n; }), 1, 1e-12);
  EXPECT_NEAR(gaussian_mean([](double n) { return std::pow(n, 6); }), 15, 1e-10);
}

// E relu^2 = v/2; E relu^4 = 3 v^2 / 2; the slope of relu is 1 half of the time.
TEST(ActivationMomentsTest, OfRelu) {
  const ActivationMoments relu = activation_moments(constants_of(ActivationKind::Relu), false, 2.5);
  EXPECT_NEAR(relu.square, 1.25, 1e-4);
  EXPECT_NEAR(relu.slope_square, 0.5, 5e-3);
  const ActivationMoments squared = activation_moments(constants_of(ActivationKind::ReluSquared), false, 2.5);
  EXPECT_NEAR(squared.square, 1.5 * 2.5 * 2.5, 1e-4);
}

// The arc-cosine kernel of order 1 (Cho and Saul 2009).
TEST(ActivationMomentsTest, CorrelationOfRelu) {
  const ActivationMoments relu = activation_moments(constants_of(ActivationKind::Relu), false, 0.7);
  for (const double q : {-0.5, 0.0, 0.3, 0.8, 1.0}) {
    const double expected = (std::sqrt(1 - q * q) + q * (std::numbers::pi - std::acos(q))) / std::numbers::pi;
    EXPECT_NEAR(relu.correlation(relu, q), expected, 2e-3) << q;
  }
}

TEST(ActivationMomentsTest, OfGatedOnes) {
  const double v = 1.3;
  const ActivationMoments moments = activation_moments(constants_of(ActivationKind::SwiGlu), true, v);
  const RandomStream random{8, 0, 1};
  double square = 0, slopes = 0;
  constexpr int kDraws = 200000;
  const ActivationConstants& silu = constants_of(ActivationKind::SwiGlu);
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const double gate = std::sqrt(v) * random.normal(2 * i), up = std::sqrt(v) * random.normal(2 * i + 1);
    square += std::pow(silu.value(gate) * up, 2) / kDraws;
    slopes += (std::pow(silu.slope(gate) * up, 2) + std::pow(silu.value(gate), 2)) / kDraws;
  }
  EXPECT_NEAR(moments.square, square, 0.02 * square);
  EXPECT_NEAR(moments.slope_square, slopes, 0.02 * slopes);
  EXPECT_NEAR(moments.correlation(moments, 1), 1, 1e-9);
  EXPECT_NEAR(moments.correlation(moments, 0), 0, 1e-12);
}

TEST(NormMomentsTest, OfEveryKind) {
  NormConfig norm;
  norm.gain_init = 1.5;
  norm.epsilon = 0.1;
  const double v = 0.4;
  for (const NormKind kind : {NormKind::LayerNorm, NormKind::RmsNorm}) {
    EXPECT_NEAR(norm_moments(norm, kind, 8, v).square, 2.25 * v / 0.5, 1e-12);
    EXPECT_NEAR(norm_moments(norm, kind, 8, v).backward, 2.25 / 0.5, 1e-12);
  }
  EXPECT_NEAR(norm_moments(norm, NormKind::L2, 8, v).square, 2.25 * v / (8 * v + 0.1), 1e-12);
  EXPECT_EQ(norm_moments(norm, NormKind::None, 8, v).square, v);
  EXPECT_EQ(norm_moments(norm, NormKind::None, 8, v).backward, 1);
  norm.alpha_init = 0.01;  // where tanh and erf are straight
  EXPECT_NEAR(norm_moments(norm, NormKind::DyT, 8, v).square / (2.25 * 1e-4 * v), 1, 1e-3);
  EXPECT_NEAR(norm_moments(norm, NormKind::DyT, 8, v).backward / (2.25 * 1e-4), 1, 1e-3);
  EXPECT_NEAR(norm_moments(norm, NormKind::Derf, 8, v).square / (2.25 * 1e-4 * v * 4 / std::numbers::pi), 1,
              1e-3);
  norm.alpha_init = 1e4;  // where both are +-1
  EXPECT_NEAR(norm_moments(norm, NormKind::DyT, 8, v).square, 2.25, 0.05);
  norm.gain = false;
  EXPECT_NEAR(norm_moments(norm, NormKind::LayerNorm, 8, v).square, v / 0.5, 1e-12);
}

}  // namespace
}  // namespace plumb::test

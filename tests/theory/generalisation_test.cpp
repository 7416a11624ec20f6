// Stretch of known functions, W_1 in one dimension and under shifts.
#include "theory/generalisation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/rng.h"

namespace plumb::test {
namespace {

std::vector<double> gaussian(std::size_t count, std::uint32_t site) {
  std::vector<double> values(count);
  const RandomStream random{5, 0, site};
  for (std::size_t i = 0; i < count; ++i) values[i] = random.normal(i);
  return values;
}

// l(x) = w x: stretched by |w| along the gradient, by |w v| <= |w| along others.
TEST(Stretch, OfALinearLoss) {
  const std::vector<double> w = {3, -4, 12}, x = {0.5, 1, -2};
  const SampleLoss loss = [&](std::span<const double> at) {
    return w[0] * at[0] + w[1] * at[1] + w[2] * at[2];
  };
  const Stretch stretch = stretch_at(loss, x, w, 0.1, 200, 7);
  EXPECT_NEAR(stretch.worst, 13, 1e-9);
  EXPECT_LE(stretch.random, 13 + 1e-9);
  EXPECT_GT(stretch.random, 11) << "200 directions in three dimensions come close";
  EXPECT_EQ(stretch.largest(), std::max(stretch.worst, stretch.random));
}

// |x| at 0 has no gradient, but every direction is stretched by 1.
TEST(Stretch, WithoutAGradient) {
  const std::vector<double> x(4, 0.0);
  const SampleLoss loss = [](std::span<const double> at) {
    double sum = 0;
    for (double v : at) sum += v * v;
    return std::sqrt(sum);
  };
  const Stretch stretch = stretch_at(loss, x, x, 1e-3, 5, 1);
  EXPECT_EQ(stretch.worst, 0);
  EXPECT_NEAR(stretch.random, 1, 1e-9);
}

// A concave loss is stretched more against the gradient than along it.
TEST(Stretch, LooksBothWaysAlongTheGradient) {
  const std::vector<double> x = {1}, gradient = {1};
  const SampleLoss loss = [](std::span<const double> at) { return at[0] < 1 ? 5 * at[0] : 5 + (at[0] - 1); };
  EXPECT_NEAR(stretch_at(loss, x, gradient, 0.1, 0, 1).worst, 5, 1e-9);
}

TEST(Stretch, BetweenPairs) {
  const std::vector<double> x = {0, 0, 3, 4, 0, 1, 0, 1}, losses = {1, 2, 4, 4};
  EXPECT_NEAR(pair_stretch(x, losses, 2), 3.0, 1e-12);  // samples 0 and 2: (4 - 1) / 1; 2 and 3 coincide
}

// In one dimension the cheapest assignment is that of the sorted samples.
TEST(Wasserstein, InOneDimension) {
  const std::vector<double> x = gaussian(40, 1), y = gaussian(40, 2);
  std::vector<double> sorted_x = x, sorted_y = y;
  std::sort(sorted_x.begin(), sorted_x.end());
  std::sort(sorted_y.begin(), sorted_y.end());
  double sum = 0;
  for (std::size_t i = 0; i < 40; ++i) sum += std::abs(sorted_x[i] - sorted_y[i]) / 40;
  EXPECT_NEAR(wasserstein_distance(x, y, 1), sum, 1e-12);
}

TEST(Wasserstein, OfAShiftIsItsLength) {
  const std::vector<double> x = gaussian(60, 3);
  std::vector<double> y;
  for (std::size_t row = 20; row > 0; --row) {  // in another order
    for (std::size_t i = 0; i < 3; ++i) y.push_back(x[(row - 1) * 3 + i] + (i == 1 ? 2.0 : 0.0));
  }
  EXPECT_NEAR(wasserstein_distance(x, y, 3), 2, 1e-12);
  EXPECT_EQ(wasserstein_distance(x, x, 3), 0);
}

TEST(Generalisation, IsAProductBesideADifference) {
  const GeneralisationDiagnostic diagnostic = generalisation_diagnostic(0.5, 4, 3.0, 3.5);
  EXPECT_EQ(diagnostic.predicted, 2);
  EXPECT_EQ(diagnostic.measured, 0.5);
  EXPECT_EQ(diagnostic.ratio(), 0.25);
}

}  // namespace
}  // namespace plumb::test

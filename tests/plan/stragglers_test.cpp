#include "plan/stragglers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "expected_maximum.h"

namespace plumb {
namespace {

TEST(Stragglers, ExpectedMaximumHasItsClosedForms) {
  const double pi = std::acos(-1.0);
  EXPECT_NEAR(test::expected_maximum_of_normals(1), 0, 1e-6);
  EXPECT_NEAR(test::expected_maximum_of_normals(2), 1 / std::sqrt(pi), 1e-6);
  EXPECT_NEAR(test::expected_maximum_of_normals(3), 1.5 / std::sqrt(pi), 1e-6);
}

TEST(Stragglers, ExpectedMaximumIsThatOfManyDraws) {
  std::mt19937_64 engine(7);
  std::normal_distribution<double> normal;
  for (const int n : {8, 64, 1000}) {
    const int draws = 1'000'000 / n;
    double sum = 0;
    for (int draw = 0; draw < draws; ++draw) {
      double most = -1e9;
      for (int i = 0; i < n; ++i) most = std::max(most, normal(engine));
      sum += most;
    }
    EXPECT_NEAR(test::expected_maximum_of_normals(n), sum / draws, 5 * 0.7 / std::sqrt(draws)) << n;
  }
}

TEST(Stragglers, FactorsHaveTheirMeanAndVariationAndAreTheSameAgain) {
  const Stragglers stragglers{.variation = 0.05, .seed = 3};
  const int count = 20000;
  double sum = 0, squares = 0;
  for (int i = 0; i < count; ++i) {
    const double factor = stragglers.factor(i % 100, i / 100);
    EXPECT_EQ(factor, stragglers.factor(i % 100, i / 100));
    sum += factor;
    squares += (factor - 1) * (factor - 1);
  }
  EXPECT_NEAR(sum / count, 1, 5 * 0.05 / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(squares / count), 0.05, 0.002);
  EXPECT_EQ(Stragglers{}.factor(1, 2), 1);
}

}  // namespace
}  // namespace plumb

// Bounds of operator norms lie above them and not far above; power iteration lies below.
#include "theory/operator_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/rng.h"

namespace plumb::test {
namespace {

std::vector<double> gaussian(std::int64_t rows, std::int64_t columns, std::uint32_t site) {
  std::vector<double> values(static_cast<std::size_t>(rows * columns));
  const RandomStream random{11, 0, site};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return values;
}

std::vector<double> diagonal(const std::vector<double>& entries) {
  std::vector<double> values(entries.size() * entries.size(), 0.0);
  for (std::size_t i = 0; i < entries.size(); ++i) values[i * entries.size() + i] = entries[i];
  return values;
}

/// Rotates columns i and j by an angle: keeps singular values.
void rotate_columns(std::vector<double>& w, std::size_t columns, std::size_t i, std::size_t j, double angle) {
  for (std::size_t row = 0; row < w.size() / columns; ++row) {
    const double x = w[row * columns + i], y = w[row * columns + j];
    w[row * columns + i] = std::cos(angle) * x - std::sin(angle) * y;
    w[row * columns + j] = std::sin(angle) * x + std::cos(angle) * y;
  }
}

TEST(OperatorNorm, IsTheSchattenNormOfOrder32) {
  const std::vector<double> singular = {3, 2.9, 1, 0.5, 0};
  std::vector<double> w = diagonal(singular);
  for (std::size_t i = 0; i < 5; ++i) rotate_columns(w, 5, i, (i + 2) % 5, 0.3 + static_cast<double>(i));
  double sum = 0;
  for (double s : singular) sum += std::pow(s, 32);
  const double bound = operator_norm_bound({w, 5, 5});
  EXPECT_NEAR(bound, std::pow(sum, 1.0 / 32), 1e-12);
  EXPECT_GE(bound, 3);
}

TEST(OperatorNorm, OrthogonalAndRankOneMatrices) {
  EXPECT_NEAR(operator_norm_bound({diagonal(std::vector<double>(64, 2.0)), 64, 64}),
              2 * std::pow(64, 1.0 / 32), 1e-10);
  std::vector<double> w;
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 3; ++j) w.push_back((i + 1) * (j - 1.5));
  }
  EXPECT_NEAR(operator_norm_bound({w, 6, 3}), std::sqrt(91.0 * 2.75), 1e-11);
}

// Both shapes, and against the power method, which comes from below.
TEST(OperatorNorm, LiesCloseAboveThePowerMethod) {
  for (const auto& [rows, columns] : {std::pair{48, 20}, std::pair{20, 48}, std::pair{33, 33}}) {
    const std::vector<double> w = gaussian(rows, columns, static_cast<std::uint32_t>(rows));
    const double bound = operator_norm_bound({w, rows, columns});
    const double estimate = operator_norm_estimate({w, rows, columns}, 2000);
    EXPECT_GE(bound, estimate * (1 - 1e-12));
    EXPECT_LE(bound, estimate * 1.06);
    EXPECT_LE(operator_norm_estimate({w, rows, columns}, 3), estimate * (1 + 1e-12));
  }
}

TEST(OperatorNorm, NeitherOverflowsNorUnderflows) {
  const std::vector<double> w = gaussian(12, 12, 1);
  const double plain = operator_norm_bound({w, 12, 12});
  for (const double size : {1e-200, 1e150, 1e300}) {
    std::vector<double> large = w;
    for (double& value : large) value *= size;
    EXPECT_NEAR(operator_norm_bound({large, 12, 12}) / size, plain, 1e-9 * plain) << size;
  }
  EXPECT_EQ(operator_norm_bound({std::vector<double>(9, 0.0), 3, 3}), 0);
  std::vector<double> broken = w;
  broken[7] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(operator_norm_bound({broken, 12, 12})));
}

// A head's W_O^h W_V^h: by Gram matrices of the head's width, against the product itself.
TEST(OperatorNorm, OfAProductIsThatOfTheProduct) {
  constexpr std::int64_t kWidth = 40, kHead = 6;
  const std::vector<double> a = gaussian(kWidth, kHead, 3), b = gaussian(kHead, kWidth, 4);
  std::vector<double> product(static_cast<std::size_t>(kWidth * kWidth), 0.0);
  for (std::int64_t i = 0; i < kWidth; ++i) {
    for (std::int64_t j = 0; j < kWidth; ++j) {
      for (std::int64_t m = 0; m < kHead; ++m) {
        product[static_cast<std::size_t>(i * kWidth + j)] +=
            a[static_cast<std::size_t>(i * kHead + m)] * b[static_cast<std::size_t>(m * kWidth + j)];
      }
    }
  }
  const double bound = product_norm_bound({a, kWidth, kHead}, {b, kHead, kWidth});
  const double whole = operator_norm_bound({product, kWidth, kWidth});
  EXPECT_NEAR(bound, whole, 1e-9 * whole);
  EXPECT_GE(bound, operator_norm_estimate({product, kWidth, kWidth}, 500));
}

// Singular A: Cholesky of A^T A needs the shift, and the result still lies above.
TEST(OperatorNorm, OfAProductWithASingularFactor) {
  std::vector<double> a = gaussian(10, 4, 5);
  for (std::size_t row = 0; row < 10; ++row) a[row * 4 + 3] = a[row * 4];
  const std::vector<double> b = gaussian(4, 10, 6);
  std::vector<double> product(100, 0.0);
  for (std::size_t i = 0; i < 10; ++i) {
    for (std::size_t j = 0; j < 10; ++j) {
      for (std::size_t m = 0; m < 4; ++m) product[i * 10 + j] += a[i * 4 + m] * b[m * 10 + j];
    }
  }
  const double bound = product_norm_bound({a, 10, 4}, {b, 4, 10});
  EXPECT_GE(bound, operator_norm_estimate({product, 10, 10}, 500));
  EXPECT_NEAR(bound, operator_norm_bound({product, 10, 10}), 1e-6 * bound);
  EXPECT_EQ(product_norm_bound({std::vector<double>(40, 0.0), 10, 4}, {b, 4, 10}), 0);
}

}  // namespace
}  // namespace plumb::test

// Lemma V8 on rows whose statistics are known.
#include "theory/ellipsoid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

constexpr std::int64_t kWidth = 16;
constexpr double kEpsilon = 1e-3;

struct Rows {
  std::vector<double> x, mean, rstd;
};

/// Rows of growing size with what a norm of this kind keeps of them.
Rows rows_of(NormKind kind, std::size_t count) {
  Rows rows;
  const RandomStream random{3, 0, 9};
  for (std::size_t row = 0; row < count; ++row) {
    double mean = 0, squares = 0, spread = 0;
    std::vector<double> entries;
    for (std::size_t i = 0; i < kWidth; ++i) {
      entries.push_back(0.01 * std::pow(4.0, static_cast<double>(row)) *
                        (random.normal(row * kWidth + i) + 0.5));
      mean += entries.back() / kWidth;
    }
    for (double v : entries) {
      squares += v * v;
      spread += (v - mean) * (v - mean) / kWidth;
    }
    const double divisor = kind == NormKind::LayerNorm ? spread
                           : kind == NormKind::RmsNorm ? squares / kWidth
                                                       : squares;
    rows.x.insert(rows.x.end(), entries.begin(), entries.end());
    rows.mean.push_back(kind == NormKind::LayerNorm ? mean : std::numeric_limits<double>::quiet_NaN());
    rows.rstd.push_back(1 / std::sqrt(divisor + kEpsilon));
  }
  return rows;
}

class Ellipsoid : public ::testing::TestWithParam<NormKind> {};

TEST_P(Ellipsoid, HoldsWithEpsilonWrittenOut) {
  const Rows rows = rows_of(GetParam(), 6);
  const EllipsoidCheck check = check_ellipsoid(GetParam(), kEpsilon, kWidth, rows.x, rows.mean, rows.rstd);
  EXPECT_EQ(check.rows, 6);
  EXPECT_LE(check.worst, 1e-12);
  EXPECT_GE(check.small_rows, 1);
  EXPECT_LT(check.small_rows, 6);
}

TEST_P(Ellipsoid, FindsAWrongRow) {
  Rows rows = rows_of(GetParam(), 6);
  rows.rstd[4] *= 1.01;
  const EllipsoidCheck check = check_ellipsoid(GetParam(), kEpsilon, kWidth, rows.x, rows.mean, rows.rstd);
  EXPECT_NEAR(check.worst, 0.0201, 1e-6);
  EXPECT_EQ(check.worst_row, 4);
  rows.rstd[2] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(check_ellipsoid(GetParam(), kEpsilon, kWidth, rows.x, rows.mean, rows.rstd).worst));
}

INSTANTIATE_TEST_SUITE_P(Kinds, Ellipsoid,
                         ::testing::Values(NormKind::LayerNorm, NormKind::RmsNorm, NormKind::L2),
                         [](const auto& test) {
                           return test.param == NormKind::LayerNorm ? "layernorm"
                                  : test.param == NormKind::RmsNorm ? "rmsnorm"
                                                                    : "l2";
                         });

// A mean that is off shifts the whole row away from the ellipsoid.
TEST(EllipsoidMean, IsChecked) {
  Rows rows = rows_of(NormKind::LayerNorm, 5);
  rows.mean[4] += 1;
  EXPECT_GT(check_ellipsoid(NormKind::LayerNorm, kEpsilon, kWidth, rows.x, rows.mean, rows.rstd).worst, 1e-3);
}

TEST(EllipsoidKinds, ThatDivideByNothingAreRefused) {
  EXPECT_THROW(check_ellipsoid(NormKind::DyT, 1e-5, 1, {}, {}, {}), Error);
}

}  // namespace
}  // namespace plumb::test

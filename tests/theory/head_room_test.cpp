// The depth at which a profile of known growth reaches a variance, and what a dtype holds.
#include "theory/head_room.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace plumb::test {
namespace {

std::vector<double> profile(double (*variance)(double k), int sublayers = 64) {
  std::vector<double> values;
  for (int k = 0; k <= sublayers; ++k) values.push_back(variance(k));
  return values;
}

// Each at three times the depth.
TEST(DepthAtVariance, InvertsEveryModel) {
  double (*const curves[])(double) = {[](double k) { return 1 + 0.5 * k; },
                                      [](double k) { return 1 + 0.1 * k * k; },
                                      [](double k) { return 1 + 0.3 * std::pow(k, 1.5); },
                                      [](double k) { return 1 + 0.2 * std::expm1(0.08 * k); }};
  for (const auto curve : curves) {
    const Growth growth = classify_growth(profile(curve));
    EXPECT_NEAR(depth_at_variance(growth, curve(0), curve(192)), 3, 0.01) << growth_text(growth);
  }
}

TEST(DepthAtVariance, IsNeverReachedByABoundedOne) {
  const Growth growth =
      classify_growth(profile([](double k) { return k == 0 ? 0.1 : 1 + 0.01 * std::sin(7 * k); }));
  EXPECT_EQ(growth.growth_class, GrowthClass::Bounded);
  EXPECT_EQ(depth_at_variance(growth, 0.1, 50), std::numeric_limits<double>::infinity());
}

TEST(HeadRoom, OfALinearProfile) {
  const auto variance = profile([](double k) { return 1 + k; });
  std::vector<double> rms, largest, step(64, 1.0);
  for (double v : variance) {
    rms.push_back(std::sqrt(v));
    largest.push_back(4 * std::sqrt(v));
  }
  const Growth growth = classify_growth(variance);
  const HeadRoom fp16 = head_room(DType::Float16, growth, variance, largest, rms, step);
  EXPECT_NEAR(fp16.share, 4 * std::sqrt(65.0) / 65504, 1e-12);
  EXPECT_NEAR(fp16.overflow_depth, (std::pow(65504.0 / 4, 2) - 1) / 64, 1e-3 * fp16.overflow_depth);
  const HeadRoom bf16 = head_room(DType::BFloat16, growth, variance, largest, rms, step);
  EXPECT_NEAR(bf16.rounding, std::sqrt(64.0) / 256, 1e-12);  // at the last sublayer, x_63 before it
  EXPECT_NEAR(bf16.rounding_depth, (256.0 * 256.0 - 1) / 64, 1);
}

TEST(HeadRoom, NumbersOfTheDtypes) {
  EXPECT_EQ(largest_number(DType::BFloat16), static_cast<double>(static_cast<float>(bfloat16(3.3895e38F))));
  for (const DType dtype : {DType::BFloat16, DType::Float16}) {
    const double u = unit_roundoff(dtype);
    const auto rounded = [&](double x) {
      return dtype == DType::BFloat16 ? static_cast<float>(bfloat16(static_cast<float>(x)))
                                      : static_cast<float>(float16(static_cast<float>(x)));
    };
    EXPECT_EQ(rounded(1 + 0.99 * u), 1.0F) << name_of(dtype);
    EXPECT_GT(rounded(1 + 1.01 * u), 1.0F) << name_of(dtype);
  }
}

}  // namespace
}  // namespace plumb::test

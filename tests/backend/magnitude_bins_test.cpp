#include "backend/magnitude_bins.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace plumb {
namespace {

TEST(MagnitudeBins, FloorsAreTheirLeastValues) {
  EXPECT_EQ(magnitude_bin_floor(kMagnitudeBelow), 0);
  EXPECT_EQ(magnitude_bin_floor(kFirstMagnitude), 0x1p-24);
  EXPECT_EQ(magnitude_bin_floor(kMagnitudeAbove), 0x1p24);
  EXPECT_TRUE(std::isnan(magnitude_bin_floor(kMagnitudeNaN)));
  EXPECT_THROW(magnitude_bin_floor(kMagnitudeBins), Error);
  for (int bin = kFirstMagnitude; bin <= kMagnitudeAbove; ++bin) {
    const double floor = magnitude_bin_floor(bin);
    EXPECT_EQ(magnitude_bin(floor), bin);
    EXPECT_EQ(magnitude_bin(-floor), bin);
    EXPECT_EQ(magnitude_bin(std::nextafter(floor, 0.0)), bin - 1);
    const auto narrow = static_cast<float>(floor);
    EXPECT_EQ(magnitude_bin(narrow), bin);
    EXPECT_EQ(magnitude_bin(std::nextafter(narrow, 0.0F)), bin - 1);
    EXPECT_LE(magnitude_bin_floor(bin), 1.125 * magnitude_bin_floor(std::max(1, bin - 1)));
  }
}

TEST(MagnitudeBins, SpecialValues) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(magnitude_bin(0.0), kMagnitudeBelow);
  EXPECT_EQ(magnitude_bin(-0.0F), kMagnitudeBelow);
  EXPECT_EQ(magnitude_bin(std::numeric_limits<float>::denorm_min()), kMagnitudeBelow);
  EXPECT_EQ(magnitude_bin(-infinity), kMagnitudeAbove);
  EXPECT_EQ(magnitude_bin(std::numeric_limits<float>::infinity()), kMagnitudeAbove);
  EXPECT_EQ(magnitude_bin(std::nan("")), kMagnitudeNaN);
  EXPECT_EQ(magnitude_bin(-std::numeric_limits<float>::quiet_NaN()), kMagnitudeNaN);
}

std::vector<double> counts_of(const std::vector<double>& values) {
  std::vector<double> counts(kMagnitudeBins, 0);
  for (const double value : values) counts[static_cast<std::size_t>(magnitude_bin(value))] += 1;
  return counts;
}

TEST(MagnitudeBins, MedianIsWithinItsError) {
  const RandomStream random{7, 0, 0};
  for (const double scale : {1e-5, 1.0, 3e4}) {
    for (const std::size_t size : {1U, 2U, 3U, 100U, 1001U}) {
      std::vector<double> values, magnitudes;
      for (std::size_t i = 0; i < size; ++i) values.push_back(scale * random.normal(i));
      for (const double value : values) magnitudes.push_back(std::abs(value));
      std::sort(magnitudes.begin(), magnitudes.end());
      const double median = magnitudes[(size - 1) / 2];
      EXPECT_NEAR(magnitude_median(counts_of(values)) / median, 1, 0.061) << scale << " " << size;
    }
  }
}

TEST(MagnitudeBins, MedianAtTheEnds) {
  EXPECT_TRUE(std::isnan(magnitude_median(std::vector<double>(kMagnitudeBins, 0))));
  EXPECT_TRUE(std::isnan(magnitude_median(counts_of({std::nan("")}))));
  EXPECT_EQ(magnitude_median(counts_of({0, 0, 5, std::nan("")})), 0);
  EXPECT_TRUE(std::isinf(magnitude_median(counts_of({1, 1e9, 1e9}))));
  EXPECT_THROW(magnitude_median(std::vector<double>(3, 1)), Error);
}

}  // namespace
}  // namespace plumb

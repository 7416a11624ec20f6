#include "plan/line_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace plumb {
namespace {

TEST(LineFit, FindsALineAgain) {
  std::vector<TimedSize> sizes;
  for (const double bytes : {1e3, 1e4, 1e6, 1e8}) sizes.push_back({3, bytes, 3 * 2e-5 + bytes * 1e-9});
  const LineFit fit = fit_line(sizes);
  EXPECT_NEAR(fit.latency, 2e-5, 1e-12);
  EXPECT_NEAR(fit.seconds_per_byte, 1e-9, 1e-16);
  EXPECT_LT(fit.worst_residual, 1e-9);
}

TEST(LineFit, NoTermIsNegativeAndTheOtherIsStillTheBest) {
  const std::vector<TimedSize> sizes = {{1, 1000, 0.5e-6}, {1, 2000, 2.2e-6}, {1, 4000, 4.2e-6}};
  const LineFit fit = fit_line(sizes);
  EXPECT_EQ(fit.latency, 0);
  const auto error = [&](double slope) {
    double sum = 0;
    for (const TimedSize& size : sizes) sum += std::abs(std::log(slope * size.bytes / size.seconds));
    return sum;
  };
  EXPECT_LT(error(fit.seconds_per_byte), error(1.01 * fit.seconds_per_byte));
  EXPECT_LT(error(fit.seconds_per_byte), error(0.99 * fit.seconds_per_byte));
  double worst = 0;
  for (const TimedSize& size : sizes)
    worst = std::max(worst, std::abs(fit.seconds_per_byte * size.bytes / size.seconds - 1));
  EXPECT_NEAR(fit.worst_residual, worst, 1e-12);
}

TEST(LineFit, AFewSizesThatAreFasterDoNotBendIt) {
  std::vector<TimedSize> sizes = {{1, 1e3, 1e-6}, {1, 4e3, 2e-6}, {1, 16e3, 5e-6}};
  for (const double bytes : {64e3, 256e3, 1e6, 4e6, 16e6, 64e6}) sizes.push_back({1, bytes, bytes * 1e-8});
  EXPECT_NEAR(fit_line(sizes).seconds_per_byte, 1e-8, 1e-12);
}

TEST(LineFit, OfLatenciesAloneItIsALatency) {
  const std::vector<TimedSize> sizes = {{1, 0, 2e-6}, {2, 0, 4e-6}, {4, 0, 8e-6}};
  EXPECT_DOUBLE_EQ(fit_line(sizes).latency, 2e-6);
  EXPECT_EQ(fit_line(sizes).seconds_per_byte, 0);
}

}  // namespace
}  // namespace plumb

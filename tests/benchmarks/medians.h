// The median of measurements, and how sure it is.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace plumb::benchmarks {

inline double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/// The order statistics between which the median lies with 95 %, whatever the distribution: ranks
/// n/2 -+ 1.96 sqrt(n)/2 (normal approximation of the binomial).
inline std::pair<double, double> interval_of_median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  const double half = 0.98 * std::sqrt(n);
  const double low = std::max(0.0, std::floor((n - 1) / 2 - half));
  const double high = std::min(n - 1, std::ceil((n - 1) / 2 + half));
  return {values[static_cast<std::size_t>(low)], values[static_cast<std::size_t>(high)]};
}

}  // namespace plumb::benchmarks

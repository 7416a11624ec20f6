// What the slowest of several ranks costs, in closed form.
#pragma once

#include <cmath>
#include <cstdint>

namespace plumb::test {

/// E max(z_1, ..., z_n) of independent standard normal z: the integral of z n phi(z) Phi(z)^(n-1) (David and
/// Nagaraja, Order Statistics, section 3.1), by quadrature.
inline double expected_maximum_of_normals(std::int64_t n) {
  // E max = integral over z of (1 - Phi^n) for z > 0, minus that of Phi^n for z < 0.
  constexpr double kEnd = 12, kWidth = 1e-3;
  const auto count = static_cast<double>(n);
  double sum = 0;
  for (double z = kWidth / 2; z < kEnd; z += kWidth) {
    const double beyond = 0.5 * std::erfc(z / std::sqrt(2.0));  // of +z, and Phi of -z
    sum += (-std::expm1(count * std::log1p(-beyond)) - std::pow(beyond, count)) * kWidth;
  }
  return sum;
}

}  // namespace plumb::test

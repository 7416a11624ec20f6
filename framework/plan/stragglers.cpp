#include "plan/stragglers.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/rng.h"

namespace plumb {

double Stragglers::factor(std::int64_t step, std::int64_t rank) const {
  if (variation == 0) return 1;
  const RandomStream stream{seed, static_cast<std::uint32_t>(step), 0};
  return std::max(0.5, 1 + variation * stream.normal(static_cast<std::uint64_t>(rank)));
}

double expected_maximum_of_normals(std::int64_t n) {
  PLUMB_CHECK(n >= 1, "the maximum of {} values", n);
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

}  // namespace plumb

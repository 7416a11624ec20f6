// Ranks that are slower than others, drawn at random, and what the slowest of them costs.
#pragma once

#include <cstdint>
#include <vector>

namespace plumb {

/// What a rank's computing in one step takes, relative to the mean: 1 + variation * z with z standard normal,
/// not below 1/2. A pure function of (seed, step, rank).
struct Stragglers {
  double variation = 0;  ///< standard deviation / mean
  std::uint64_t seed = 1;

  double factor(std::int64_t step, std::int64_t rank) const;
};

/// E max(z_1, ..., z_n) of independent standard normal z: the integral of z n phi(z) Phi(z)^(n-1) (David and
/// Nagaraja, Order Statistics, section 3.1), by quadrature.
double expected_maximum_of_normals(std::int64_t n);

}  // namespace plumb

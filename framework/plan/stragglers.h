// Ranks that are slower than others, drawn at random.
#pragma once

#include <cstdint>

namespace plumb {

/// What a rank's computing in one step takes, relative to the mean: 1 + variation * z with z standard normal,
/// not below 1/2. A pure function of (seed, step, rank).
struct Stragglers {
  double variation = 0;  ///< standard deviation / mean
  std::uint64_t seed = 1;

  double factor(std::int64_t step, std::int64_t rank) const;
};

}  // namespace plumb

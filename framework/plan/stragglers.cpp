#include "plan/stragglers.h"

#include <algorithm>

#include "core/rng.h"

namespace plumb {

double Stragglers::factor(std::int64_t step, std::int64_t rank) const {
  if (variation == 0) return 1;
  const RandomStream stream{seed, static_cast<std::uint32_t>(step), 0};
  return std::max(0.5, 1 + variation * stream.normal(static_cast<std::uint64_t>(rank)));
}

}  // namespace plumb

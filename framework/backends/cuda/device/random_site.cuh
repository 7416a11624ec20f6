// A RandomSite (backend/ops/random.h) as kernels see it: step and place are read when the kernel runs.
#pragma once

#include <cstdint>

#include "backend/ops/random.h"
#include "core/rng.h"
#include "portability.cuh"

namespace plumb::cuda {

struct RandomSiteView {
  std::uint64_t seed = 0;
  std::uint32_t site = 0;
  const std::int64_t* counters = nullptr;

  RandomSiteView() = default;
  explicit RandomSiteView(const RandomSite& where)
      : seed(where.seed), site(where.site), counters(static_cast<const std::int64_t*>(where.counters.data)) {}

  __device__ __forceinline__ RandomStream stream() const {
    return RandomStream{seed, static_cast<std::uint32_t>(counters[0]), site};
  }
  __device__ __forceinline__ std::uint64_t first_sequence() const {
    return static_cast<std::uint64_t>(counters[1]);
  }
};

}  // namespace plumb::cuda

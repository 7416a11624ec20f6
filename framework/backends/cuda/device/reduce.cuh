// Sums and maxima over the threads of a warp and of a block, in a fixed order.
#pragma once

#include "core/maximum.h"
#include "portability.cuh"

namespace plumb::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kWholeWarp = 0xffffffffu;

struct Add {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// A NaN wins.
struct MaximumOrNan {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return maximum_or_nan(a, b);
  }
};

/// Every lane ends with the result over the 32 lanes of its warp, all of which call it.
template <class T, class Operation>
__device__ __forceinline__ T warp_reduce(T value, Operation operation) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2)
    value = operation(value, __shfl_xor_sync(kWholeWarp, value, offset));
  return value;
}

/// Every thread of a one-dimensional block of kThreads (a multiple of 32) ends with the result over the
/// block. `scratch` holds kThreads / 32 entries of shared memory and may be used again at once: the call
/// begins with a barrier.
template <int kThreads, class T, class Operation>
__device__ __forceinline__ T block_reduce(T value, Operation operation, T* scratch) {
  static_assert(kThreads % kWarp == 0 && kThreads <= 1024);
  constexpr int kWarps = kThreads / kWarp;
  value = warp_reduce(value, operation);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = value;
  __syncthreads();
  T result = scratch[0];
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp) result = operation(result, scratch[warp]);
  return result;
}

}  // namespace plumb::cuda

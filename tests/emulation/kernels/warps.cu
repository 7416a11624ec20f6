#include "kernels/kernels.h"

namespace plumb::test {

template <class T>
__global__ void shuffle_lanes(ShuffleKind kind, int selector, int width, const T* x, T* y) {
  const T value = x[threadIdx.x];
  const unsigned distance = static_cast<unsigned>(selector);
  T result = value;
  if (kind == ShuffleKind::Index) result = __shfl_sync(0xffffffffU, value, selector, width);
  if (kind == ShuffleKind::Up) result = __shfl_up_sync(0xffffffffU, value, distance, width);
  if (kind == ShuffleKind::Down) result = __shfl_down_sync(0xffffffffU, value, distance, width);
  if (kind == ShuffleKind::Xor) result = __shfl_xor_sync(0xffffffffU, value, selector, width);
  y[threadIdx.x] = result;
}
template __global__ void shuffle_lanes<int>(ShuffleKind, int, int, const int*, int*);
template __global__ void shuffle_lanes<float>(ShuffleKind, int, int, const float*, float*);
template __global__ void shuffle_lanes<double>(ShuffleKind, int, int, const double*, double*);
template __global__ void shuffle_lanes<long long>(ShuffleKind, int, int, const long long*, long long*);
template __global__ void shuffle_lanes<__half>(ShuffleKind, int, int, const __half*, __half*);
template __global__ void shuffle_lanes<__nv_bfloat162>(ShuffleKind, int, int, const __nv_bfloat162*,
                                                       __nv_bfloat162*);

__global__ void shuffle_some_lanes(unsigned mask, const int* sources, const float* x, float* y) {
  if ((mask >> threadIdx.x & 1U) == 0) return;
  y[threadIdx.x] = __shfl_sync(mask, x[threadIdx.x], sources[threadIdx.x]);
}

__global__ void vote_of_warp(unsigned mask, const int* flags, unsigned* results) {
  const int flag = flags[threadIdx.x];
  unsigned* mine = results + threadIdx.x * 5;
  if ((mask >> threadIdx.x & 1U) != 0) {
    mine[0] = __ballot_sync(mask, flag);
    mine[1] = static_cast<unsigned>(__any_sync(mask, flag));
    mine[2] = static_cast<unsigned>(__all_sync(mask, flag));
  } else {
    mine[3] = __ballot_sync(~mask, flag);
  }
  __syncwarp();
  mine[4] = __match_any_sync(0xffffffffU, flag);
}

__global__ void reduce_lanes(unsigned mask, const int* x, std::uint32_t* results) {
  if ((mask >> threadIdx.x & 1U) == 0) return;
  const int value = x[threadIdx.x];
  const auto bits = static_cast<unsigned>(value);
  std::uint32_t* mine = results + threadIdx.x * 9;
  mine[0] = static_cast<std::uint32_t>(__reduce_add_sync(mask, value));
  mine[1] = static_cast<std::uint32_t>(__reduce_min_sync(mask, value));
  mine[2] = static_cast<std::uint32_t>(__reduce_max_sync(mask, value));
  mine[3] = __reduce_add_sync(mask, bits);
  mine[4] = __reduce_min_sync(mask, bits);
  mine[5] = __reduce_max_sync(mask, bits);
  mine[6] = __reduce_and_sync(mask, bits);
  mine[7] = __reduce_or_sync(mask, bits);
  mine[8] = __reduce_xor_sync(mask, bits);
}

__global__ void swap_neighbours(const float* x, float* y) {
  PLUMB_SHARED(float, values, [32]);
  values[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  y[threadIdx.x] = values[threadIdx.x ^ 1U];
}

__global__ void vote_of_remaining_lanes(int live, unsigned* y) {
  if (static_cast<int>(threadIdx.x) >= live) return;
  const unsigned votes = __ballot_sync(0xffffffffU, 1);
  __syncwarp();
  y[threadIdx.x] = static_cast<unsigned>(__popc(votes));
}

}  // namespace plumb::test

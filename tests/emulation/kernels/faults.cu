#include "backends/cuda/device/tensor_core.cuh"
#include "kernels/faults.h"

namespace plumb::test {
namespace {
constexpr unsigned kWholeWarp = 0xffffffffU;
}

__global__ void wait_in_two_branches() {
  if (blockIdx.x == 1 && threadIdx.x == 5)
    __syncthreads();
  else
    __syncthreads();
}

__global__ void vote_in_one_branch() {
  if (threadIdx.x % 2 == 1) __ballot_sync(kWholeWarp, 1);
  __syncthreads();
}

__global__ void shuffle_from_ended_lane(float* y) {
  if (threadIdx.x >= 40) return;
  y[threadIdx.x] = __shfl_down_sync(kWholeWarp, 1.0F, 1);
}

__global__ void shuffle_from_outside_the_mask(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_xor_sync(0x0000ffffU, 1.0F, 16);
}

__global__ void shuffle_without_being_in_the_mask(float* y) {
  y[threadIdx.x] = __shfl_sync(0xffffffdfU, 1.0F, 0);
}

__global__ void shuffle_with_two_masks(float* y) {
  y[threadIdx.x] = __shfl_sync(threadIdx.x == 5 ? 0x0000ffffU : kWholeWarp, 1.0F, 0);
}

__global__ void shuffle_in_two_branches(float* y) {
  if (threadIdx.x < 5)
    y[threadIdx.x] = __shfl_sync(kWholeWarp, 1.0F, 0);
  else
    y[threadIdx.x] = __shfl_sync(kWholeWarp, 2.0F, 0);
}

__global__ void shuffle_of_odd_width(float* y) { y[threadIdx.x] = __shfl_sync(kWholeWarp, 1.0F, 0, 12); }

__global__ void wait_for_a_warp_that_votes() {
  if (threadIdx.x < 32)
    __syncthreads();
  else if (threadIdx.x != 40)
    __all_sync(kWholeWarp, 1);
  else
    __syncthreads();
}

__global__ void product_of_half_a_warp(float* y) {
  const std::uint32_t a[4] = {}, b[2] = {};
  float d[4] = {};
  if (threadIdx.x < 16) cuda::mma_m16n8k16<__half>(d, a, b);
  __syncthreads();
  y[threadIdx.x] = d[0];
}

__global__ void product_after_an_end(float* y) {
  const std::uint32_t a[4] = {}, b[2] = {};
  float d[4] = {};
  if (threadIdx.x == 5) return;
  cuda::mma_m16n8k16<__half>(d, a, b);
  y[threadIdx.x] = d[0];
}

__global__ void copy_without_wait(const float4* x) {
  PLUMB_SHARED(float4, values, [64]);
  cuda::copy_async_16(&values[threadIdx.x], &x[threadIdx.x]);
  cuda::copy_async_commit();
}

__global__ void copy_without_commit(const float4* x) {
  PLUMB_SHARED(float4, values, [64]);
  cuda::copy_async_16(&values[threadIdx.x], &x[threadIdx.x]);
  cuda::copy_async_wait<0>();
}

__global__ void empty_groups_without_wait(const float4* x, float4* y) {
  PLUMB_SHARED(float4, values, [64]);
  cuda::copy_async_16(&values[threadIdx.x], &x[threadIdx.x]);
  cuda::copy_async_commit();
  cuda::copy_async_commit();
  cuda::copy_async_wait<1>();
  y[threadIdx.x] = values[threadIdx.x];
}

__global__ void copy_to_misaligned(const float* x) {
  PLUMB_SHARED(float, values, [64]);
  cuda::copy_async_16(&values[threadIdx.x == 5 ? 1 : 0], x);
  cuda::copy_async_commit();
  cuda::copy_async_wait<0>();
}

__global__ void copy_from_misaligned(const float* x) {
  PLUMB_SHARED(float, values, [64]);
  cuda::copy_async_16(&values[0], x + 1);
  cuda::copy_async_commit();
  cuda::copy_async_wait<0>();
}

__global__ void copy_to_global(const float4* x, float4* y) { cuda::copy_async_16(y, x); }

__global__ void copy_from_shared() {
  PLUMB_SHARED(float4, values, [2]);
  cuda::copy_async_16(&values[0], &values[1]);
}

__global__ void load_matrix_from_global(const float4* x) {
  std::uint32_t registers[4];
  cuda::load_matrix_x4(registers, &x[threadIdx.x]);
}

__global__ void read_before_wait(const float4* x, float4* y) {
  PLUMB_SHARED(float4, values, [64]);
  values[threadIdx.x] = x[threadIdx.x];
  cuda::copy_async_16(&values[threadIdx.x], &x[threadIdx.x]);
  cuda::copy_async_commit();
  y[threadIdx.x] = values[threadIdx.x];
  cuda::copy_async_wait<0>();
}

__global__ void write_before_the_beginning() {
  PLUMB_SHARED(int, values, [4]);
  volatile int* outside = values;
  if (threadIdx.x == 5) outside[-static_cast<int>(blockDim.x) / 64] = 0;
}

}  // namespace plumb::test

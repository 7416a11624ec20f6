#include "backends/cuda/device/tensor_core.cuh"
#include "kernels/bugs.h"

namespace plumb::test {
namespace {
constexpr unsigned kWholeWarp = 0xffffffffU;
}

__global__ void correct(float* y, const float* x, unsigned* zeroed, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  values[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  if (blockIdx.x == 0) y[threadIdx.x] = values[kBugElements - 1 - threadIdx.x];
  __syncwarp();
  atomicAdd(zeroed, 1U);
}

__global__ void missing_barrier_before_read(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  values[threadIdx.x] = x[threadIdx.x];
  // here
  y[threadIdx.x] = values[kBugElements - 1 - threadIdx.x];
}

__global__ void missing_barrier_before_next_write(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, partial, [2]);
  float sum = 0;
  for (int i = 0; i < 2; ++i) {
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x[i] + static_cast<float>(threadIdx.x);
    __syncthreads();
    sum += partial[0] + partial[1];
    // here
  }
  y[threadIdx.x] = sum;
}

__global__ void barrier_in_two_branches(float* y, const float* x, unsigned*, int) {
  if (threadIdx.x < 16) {
    y[threadIdx.x] = x[0];
    __syncthreads();
  } else {
    y[threadIdx.x] = x[1];
    __syncthreads();
  }
}

__global__ void shuffle_after_threads_ended(float* y, const float* x, unsigned*, int) {
  if (threadIdx.x >= 40) return;
  float sum = x[threadIdx.x];
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, lanes);
  y[threadIdx.x] = sum;
}

__global__ void shuffle_of_every_other_lane(float* y, const float* x, unsigned*, int) {
  float sum = x[threadIdx.x];
  if (threadIdx.x % 2 == 1) sum += __shfl_xor_sync(kWholeWarp, sum, 1);
  __syncthreads();
  y[threadIdx.x] = sum;
}

__global__ void static_shared_overrun(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  values[threadIdx.x + 1] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x == 0 ? 1 : threadIdx.x];
}

__global__ void dynamic_shared_overrun(float* y, const float* x, unsigned*, int) {
  PLUMB_DYNAMIC_SHARED(float, values);
  values[threadIdx.x + 8] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x < 8 ? 8 : threadIdx.x];
}

__global__ void global_overrun(float* y, const float* x, unsigned*, int) {
  y[threadIdx.x] = x[threadIdx.x + 1];
}

__global__ void misaligned_vector(float* y, const float* x, unsigned*, int) {
  if (threadIdx.x == 0) y[0] = reinterpret_cast<const float4*>(x + 1)->x;
}

__global__ void uninitialised_shared(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  if (threadIdx.x < kBugElements - 1) values[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
}

__global__ void blocks_write_one_address(float* y, const float* x, unsigned*, int) {
  y[threadIdx.x] += x[threadIdx.x];
}

__global__ void lock_step_assumed(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  values[threadIdx.x] = x[threadIdx.x];
  // here a __syncwarp
  y[threadIdx.x] = values[threadIdx.x ^ 1U];
}

__global__ void shuffle_taken_for_a_fence(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  values[threadIdx.x] = x[threadIdx.x];
  const float first = __shfl_sync(kWholeWarp, x[0], 0);
  y[threadIdx.x] = values[threadIdx.x ^ 1U] + first * 0;
}

__global__ void missing_wait_for_copies(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  if (threadIdx.x % 4 == 0) cuda::copy_async_16(&values[threadIdx.x], x + threadIdx.x);
  cuda::copy_async_commit();
  cuda::copy_async_wait<1>();  // 1 for 0
  __syncthreads();
  y[threadIdx.x] = values[threadIdx.x];
  cuda::copy_async_wait<0>();
}

__global__ void missing_barrier_after_copies(float* y, const float* x, unsigned*, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  if (threadIdx.x % 4 == 0) cuda::copy_async_16(&values[threadIdx.x], x + threadIdx.x);
  cuda::copy_async_commit();
  cuda::copy_async_wait<0>();
  // here: other threads' copies
  y[threadIdx.x] = values[threadIdx.x];
}

__global__ void last_block_with_fences(float* y, const float* x, unsigned* zeroed, int) {
  PLUMB_SHARED(unsigned, ticket, );
  if (threadIdx.x == 0) {
    y[blockIdx.x] = x[blockIdx.x];
    __threadfence();
    ticket = atomicAdd(zeroed, 1U);
    __threadfence();
  }
  __syncthreads();
  if (ticket != gridDim.x - 1 || threadIdx.x != 5) return;
  for (unsigned block = 0; block < gridDim.x; ++block) y[kBugElements - 1] += y[block];
}

__global__ void distant_blocks_write_one_address(float* y, const float* x, unsigned*, int parameter) {
  if (blockIdx.x == 0 || blockIdx.x == static_cast<unsigned>(parameter)) y[threadIdx.x] = x[threadIdx.x];
}

__global__ void late_race(float* y, const float* x, unsigned*, int parameter) {
  PLUMB_SHARED(float, values, [kBugElements]);
  if (threadIdx.x % 4 == 0) cuda::copy_async_16(&values[threadIdx.x], x + threadIdx.x);
  cuda::copy_async_commit();
  cuda::copy_async_wait<0>();
  if (blockIdx.x != static_cast<unsigned>(parameter)) __syncthreads();
  const int votes = __syncthreads_count(1) + __popc(__ballot_sync(kWholeWarp, 1));
  if (blockIdx.x == static_cast<unsigned>(parameter)) {
    y[threadIdx.x / 2] = static_cast<float>(votes);  // two threads each
  }
}

__global__ void busy_blocks(float* y, const float* x, unsigned* zeroed, int) {
  PLUMB_SHARED(float, values, [kBugElements]);
  PLUMB_DYNAMIC_SHARED(float, again);
  const unsigned mirror = kBugElements - 1 - threadIdx.x;
  for (int i = 0; i < 3; ++i) {
    values[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    again[threadIdx.x] = values[mirror] + static_cast<float>(__shfl_xor_sync(kWholeWarp, i, 1));
    __syncwarp();
    values[mirror] = again[threadIdx.x ^ 1U];
    __syncthreads();
  }
  if (blockIdx.x == 3) y[threadIdx.x] = values[threadIdx.x];
  atomicMax(zeroed, threadIdx.x);
}

}  // namespace plumb::test

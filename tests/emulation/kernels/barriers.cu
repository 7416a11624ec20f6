#include "kernels/kernels.h"

namespace plumb::test {

__global__ void reverse_block(const float* x, float* y) {
  PLUMB_SHARED(float, values, [1024]);
  values[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

__global__ void vote_of_block(const int* flags, int live, int* results) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= live) return;
  const int count = __syncthreads_count(flags[i]);
  const int all = __syncthreads_and(flags[i]);
  const int any = __syncthreads_or(flags[i]);
  results[3 * i] = count;
  results[3 * i + 1] = all;
  results[3 * i + 2] = any;
}

__global__ void tree_sum(const float* x, float* sums) {
  PLUMB_SHARED(float, partial, [256]);
  partial[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = partial[0];
}

}  // namespace plumb::test

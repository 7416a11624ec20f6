#include "kernels/kernels.h"

namespace plumb::test {

__global__ void histogram(const int* x, int elements, unsigned* counts) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < elements) atomicAdd(&counts[x[i]], 1);
}

template <class T>
__global__ void combine_atomically(T* cells, T* old_of_first_thread) {
  const T mine = static_cast<T>(threadIdx.x);
  T old[8];
  old[0] = atomicAdd(&cells[0], mine);
  old[1] = atomicAdd(&cells[1], static_cast<T>(0) - mine);
  old[2] = atomicExch(&cells[2], mine);
  old[3] = atomicMin(&cells[3], mine);
  old[4] = atomicMax(&cells[4], mine);
  old[5] = atomicAnd(&cells[5], mine | 1);
  old[6] = atomicOr(&cells[6], mine);
  old[7] = atomicXor(&cells[7], mine);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 8; ++i) old_of_first_thread[i] = old[i];
  }
}
template __global__ void combine_atomically<int>(int*, int*);
template __global__ void combine_atomically<unsigned>(unsigned*, unsigned*);
template __global__ void combine_atomically<unsigned long long>(unsigned long long*, unsigned long long*);

__global__ void count_up_and_down(unsigned* up, unsigned* down, unsigned limit) {
  atomicInc(up, limit);
  atomicDec(down, limit);
}

__global__ void compare_and_swap(int* cell, int* winners) {
  if (atomicCAS(cell, -1, static_cast<int>(threadIdx.x)) == -1) atomicAdd(winners, 1);
}

__global__ void last_block_sums(float* partials, unsigned* ticket, float* sum) {
  PLUMB_SHARED(unsigned, drawn, );
  if (threadIdx.x == 0) {
    partials[blockIdx.x] = static_cast<float>(blockIdx.x + 1);
    __threadfence();
    drawn = atomicAdd(ticket, 1U);
    __threadfence();
  }
  __syncthreads();
  if (drawn != gridDim.x - 1 || threadIdx.x != 1) return;
  float total = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) total += partials[i];
  *sum = total;
}

}  // namespace plumb::test

#include "kernels/kernels.h"

namespace plumb::test {

__global__ void read_unwritten(float* y) {
  PLUMB_SHARED(float, fixed, [64]);
  PLUMB_DYNAMIC_SHARED(float, dynamic);
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[2 * i] = fixed[threadIdx.x];
  y[2 * i + 1] = dynamic[threadIdx.x];
  __syncthreads();
  fixed[threadIdx.x] = dynamic[threadIdx.x] = 1;  // the next block must not see it
}

__global__ void shared_alignments(unsigned* remainders) {
  PLUMB_SHARED(char, first, [5]);
  PLUMB_SHARED(double, second, [3][7]);
  PLUMB_DYNAMIC_SHARED(float4, dynamic);
  if (threadIdx.x != 0) return;
  remainders[0] = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(first) % 8);
  remainders[1] = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(second) % alignof(double));
  remainders[2] = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(dynamic) % 128);
}

__global__ void fill_dynamic(int elements, float* sum) {
  PLUMB_DYNAMIC_SHARED(float, values);
  for (int i = static_cast<int>(threadIdx.x); i < elements; i += static_cast<int>(blockDim.x)) values[i] = 1;
  __syncthreads();
  if (threadIdx.x != 0) return;
  float total = 0;
  for (int i = 0; i < elements; ++i) total += values[i];
  *sum = total;
}

template <int kBytes>
__global__ void use_static(float* y) {
  PLUMB_SHARED(char, values, [kBytes]);
  values[kBytes - 1] = 1;
  *y = values[kBytes - 1];
}
template __global__ void use_static<1024>(float*);
template __global__ void use_static<48 * 1024>(float*);
#ifndef __CUDACC__  // ptxas refuses it
template __global__ void use_static<48 * 1024 + 1>(float*);
#endif

}  // namespace plumb::test

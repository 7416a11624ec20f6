#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/partial_sums.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;

/// Block f: thread t adds the terms t, t + kThreads, ... of feature f in ascending order.
__global__ void __launch_bounds__(kThreads)
    add_partials_kernel(const double* partials, std::int64_t terms, float* out) {
  PLUMB_SHARED(double, scratch, [kThreads / kWarp]);
  const double* feature = partials + blockIdx.x * terms;
  double sum = 0;
  for (std::int64_t term = threadIdx.x; term < terms; term += kThreads) sum += feature[term];
  sum = block_reduce<kThreads>(sum, Add{}, &scratch[0]);
  if (threadIdx.x == 0) out[blockIdx.x] = static_cast<float>(static_cast<double>(out[blockIdx.x]) + sum);
}

}  // namespace

void launch_add_partials(const char* name, cudaStream_t stream, const double* partials, std::int64_t features,
                         std::int64_t terms, float* out) {
  launch({name, dim3(static_cast<unsigned>(features)), dim3(kThreads), 0, stream}, add_partials_kernel,
         partials, terms, out);
}

}  // namespace plumb::cuda

#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/partial_sums.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;

/// A block has a feature: thread t adds its terms t, t + kThreads, ... in ascending order.
__global__ void __launch_bounds__(kThreads)
    add_partials_kernel(PartialFeatures features, const double* partials, std::int64_t terms, float* out) {
  PLUMB_SHARED(double, scratch, [kThreads / kWarp]);
  const std::int64_t at = blockIdx.x;
  const std::int64_t feature = features.first + at / features.group * features.step + at % features.group;
  double sum = 0;
  for (std::int64_t term = threadIdx.x; term < terms; term += kThreads)
    sum += partials[feature * terms + term];
  sum = block_reduce<kThreads>(sum, Add{}, &scratch[0]);
  if (threadIdx.x == 0) out[feature] = static_cast<float>(static_cast<double>(out[feature]) + sum);
}

}  // namespace

void launch_add_partials(const char* name, cudaStream_t stream, const double* partials,
                         const PartialFeatures& features, std::int64_t terms, float* out) {
  launch({name, dim3(static_cast<unsigned>(features.count)), dim3(kThreads), 0, stream}, add_partials_kernel,
         features, partials, terms, out);
}

}  // namespace plumb::cuda

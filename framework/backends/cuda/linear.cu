#include "backends/cuda/device/column_sums.cuh"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/linear.h"

namespace plumb::cuda {

void launch_bias_gradient(cudaStream_t stream, const Tensor& dy, const Tensor& dbias, float* partials) {
  with_element(dy.dtype, [&](auto element) {
    launch_row_sum<decltype(element)>("linear_backward_weight dbias", stream, dy,
                                      static_cast<float*>(dbias.data), partials);
  });
}

}  // namespace plumb::cuda

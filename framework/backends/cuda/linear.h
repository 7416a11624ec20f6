// Launchers of linear.cu; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "core/tensor.h"

namespace plumb::cuda {

/// dbias (N) fp32 += the sums over the rows of dy (R, N). `partials`: row_sum_partials(dy) floats.
void launch_bias_gradient(cudaStream_t stream, const Tensor& dy, const Tensor& dbias, float* partials);

}  // namespace plumb::cuda

// Rounding fp32 results and parameters to the compute dtype.
#pragma once

#include <cuda_runtime_api.h>

#include "core/tensor.h"

namespace plumb::cuda {

/// y = x, rounded to nearest even. x: (R, C) fp32, y: (R, C) of any compute dtype, row_stride honoured.
void launch_narrow(const char* name, cudaStream_t stream, const Tensor& x, const Tensor& y);

}  // namespace plumb::cuda

// Launchers of activation.cu; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/activation.h"
#include "backends/cuda/row_blocks.h"

namespace plumb::cuda {

/// How the (rows, F) entries of h are cut; a thread has a gate and its up entry.
inline WalkShape activation_shape(const Tensor& h) { return {h.rows(), h.cols(), size_of(h.dtype)}; }

void launch_activation_forward(cudaStream_t stream, const ActivationForward& arguments);
/// bias_partials: (row blocks, cols of pre) where dbias is wanted.
void launch_activation_backward(cudaStream_t stream, const ActivationBackward& arguments,
                                float* bias_partials);

}  // namespace plumb::cuda

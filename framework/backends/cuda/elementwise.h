// Launchers of the small ops over whole tensors; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include <span>

#include "backend/ops/elementwise.h"

namespace plumb::cuda {

void launch_fill(cudaStream_t stream, const Tensor& x, double value);
/// Of contiguous fp32 tensors.
void launch_fill_all(cudaStream_t stream, std::span<const Tensor> tensors, float value);
void launch_copy(cudaStream_t stream, const Tensor& x, const Tensor& y);
void launch_add(cudaStream_t stream, const Tensor& x, const Tensor& y);

/// `partials`: a double for every piece of the tensors (tensor_pieces.h).
void launch_sum_of_squares(cudaStream_t stream, const SumOfSquares& arguments,
                           std::span<const Tensor> tensors, double* partials);

/// 32-bit words of a tensor's memory; an element of 16 bits counts as one.
std::int64_t hashed_words_of(const Tensor& tensor);
/// `partials`: an entry for every piece of the tensors' words (tensor_pieces.h).
void launch_hash(cudaStream_t stream, const HashTensors& arguments, std::span<const Tensor> tensors,
                 std::int64_t* partials);

void launch_group_gain_forward(cudaStream_t stream, const GroupGain& arguments);
/// Row blocks that the backward pass leaves a partial sum of every group for.
std::int64_t group_gain_row_blocks(const GroupGainBackward& arguments);
/// `partials` (groups, row blocks); null without dgain.
void launch_group_gain_backward(cudaStream_t stream, const GroupGainBackward& arguments, double* partials);

void launch_scalar_bias_forward(cudaStream_t stream, const ScalarBias& arguments);
/// Blocks that the backward pass leaves a partial sum for.
std::int64_t scalar_bias_blocks(const ScalarBiasBackward& arguments);
void launch_scalar_bias_backward(cudaStream_t stream, const ScalarBiasBackward& arguments, double* partials);

}  // namespace plumb::cuda

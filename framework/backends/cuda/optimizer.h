// Launchers of the optimiser steps; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include <span>

#include "backend/ops/optimizer.h"

namespace plumb::cuda {

/// Sums that an update leaves for every piece of a tensor (tensor_pieces.h).
inline constexpr int kUpdateSums = 4;

/// `partials`: kUpdateSums doubles for every piece; null when no statistics are wanted.
void launch_adamw(cudaStream_t stream, const AdamW& arguments, std::span<const UpdateTensor> tensors,
                  double* partials);
void launch_sgd_momentum(cudaStream_t stream, const SgdMomentum& arguments,
                         std::span<const UpdateTensor> tensors, double* partials);
void launch_clip(cudaStream_t stream, const Clip& arguments);
void launch_guard_step(cudaStream_t stream, const StepGuard& arguments);
void launch_adapt_loss_scale(cudaStream_t stream, const LossScaling& arguments);

}  // namespace plumb::cuda

#include "backends/cuda/optimizer.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/tensor_pieces.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

void require_update(const char* op, const UpdateTensor& tensor, bool has_variance) {
  const std::int64_t elements = tensor.parameter.elements();
  require_vector(op, "parameter", tensor.parameter, DType::Float32, elements);
  require_vector(op, "gradient", tensor.gradient, DType::Float32, elements);
  require_vector(op, "momentum", tensor.momentum, DType::Float32, elements);
  if (has_variance) require_vector(op, "variance", tensor.variance, DType::Float32, elements);
  const Tensor& copy = tensor.compute_copy;
  if (!copy.defined()) return;
  require_compute(op, copy.dtype);
  require_vector(op, "compute_copy", copy, copy.dtype, elements);
}

double* update_partials(std::span<const UpdateTensor> tensors, WorkspaceCarver& carver) {
  std::int64_t pieces = 0;
  for (const UpdateTensor& tensor : tensors) pieces += pieces_of(tensor.parameter.elements());
  return carver.take<double>(kUpdateSums * pieces);
}

/// Checks everything; the partial sums, or null when no statistics are wanted.
template <class Arguments>
double* prepare_update(const char* op, const Arguments& arguments, std::span<const UpdateTensor> tensors,
                       bool has_variance) {
  const auto count = static_cast<std::int64_t>(tensors.size());
  const UpdateStatistics& statistics = arguments.statistics;
  require_vector(op, "step_scalars", arguments.step_scalars, DType::Float64, kStepScalars);
  optional_vector(op, "tensor_factors", arguments.tensor_factors, DType::Float64, count);
  optional_vector(op, "update_square", statistics.update_square, DType::Float64, count);
  optional_vector(op, "parameter_square", statistics.parameter_square, DType::Float64, count);
  optional_vector(op, "lag_squares", statistics.lag_squares, DType::Float64, count);
  optional_vector(op, "eps_dominated", statistics.eps_dominated, DType::Float64, count);
  const bool lag = statistics.lag_squares.defined() || statistics.eps_dominated.defined();
  PLUMB_CHECK(has_variance || !lag, "{}: lag_squares and eps_dominated go with adamw", op);
  for (const UpdateTensor& tensor : tensors) require_update(op, tensor, has_variance);
  if (!lag && !statistics.update_square.defined() && !statistics.parameter_square.defined()) return nullptr;
  WorkspaceCarver carver(arguments.workspace);
  return update_partials(tensors, carver);
}

}  // namespace

void CudaOptimizer::adamw(Stream& stream, const AdamW& arguments,
                          std::span<const UpdateTensor> tensors) const {
  double* partials = prepare_update("adamw", arguments, tensors, true);
  launch_adamw(handle_of(stream), arguments, tensors, partials);
}

void CudaOptimizer::sgd_momentum(Stream& stream, const SgdMomentum& arguments,
                                 std::span<const UpdateTensor> tensors) const {
  double* partials = prepare_update("sgd_momentum", arguments, tensors, false);
  launch_sgd_momentum(handle_of(stream), arguments, tensors, partials);
}

std::size_t CudaOptimizer::update_workspace(std::span<const UpdateTensor> tensors) const {
  WorkspaceCarver carver;
  update_partials(tensors, carver);
  return carver.bytes();
}

void CudaOptimizer::clip(Stream& stream, const Clip& arguments) const {
  require_vector("clip", "squares", arguments.squares, DType::Float64, arguments.squares.elements());
  require_vector("clip", "step_scalars", arguments.step_scalars, DType::Float64, kStepScalars);
  launch_clip(handle_of(stream), arguments);
}

void CudaOptimizer::guard_step(Stream& stream, const StepGuard& arguments) const {
  const char* op = "guard_step";
  const std::int64_t count = arguments.squares.elements();
  require_vector(op, "squares", arguments.squares, DType::Float64, count);
  require_vector(op, "state", arguments.state, DType::Float64, kGuardState + count);
  require_vector(op, "step_scalars", arguments.step_scalars, DType::Float64, kStepScalars);
  if (arguments.losses.defined())
    require_vector(op, "losses", arguments.losses, DType::Float64, arguments.losses.elements());
  if (arguments.rules.tensor_ratio > 0)
    require_vector(op, "tensor_factors", arguments.tensor_factors, DType::Float64, count);
  launch_guard_step(handle_of(stream), arguments);
}

void CudaOptimizer::adapt_loss_scale(Stream& stream, const LossScaling& arguments) const {
  require_vector("adapt_loss_scale", "step_scalars", arguments.step_scalars, DType::Float64, kStepScalars);
  launch_adapt_loss_scale(handle_of(stream), arguments);
}

}  // namespace plumb::cuda

#include "backends/cuda/activation.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

float* take_bias_partials(WorkspaceCarver& carver, const ActivationBackward& arguments) {
  if (!arguments.dbias.defined()) return nullptr;
  return carver.take<float>(activation_shape(arguments.dh).row_blocks.count * arguments.pre.cols());
}

/// pre, gradients of it and the bias have this many columns for each row of h.
std::int64_t inputs_of(ActivationKind kind, const Tensor& h) {
  return is_gated(kind) ? 2 * h.cols() : h.cols();
}

}  // namespace

void CudaActivation::activation_forward(Stream& stream, const ActivationForward& arguments) const {
  const char* op = "activation_forward";
  const Tensor& h = arguments.h;
  const std::int64_t inputs = inputs_of(arguments.kind, h);
  require_compute(op, arguments.pre.dtype);
  require_rows(op, "pre", arguments.pre, arguments.pre.dtype, h.rows(), inputs);
  optional_vector(op, "bias", arguments.bias, DType::Float32, inputs);
  require_rows(op, "h", h, arguments.pre.dtype, h.rows(), h.cols());
  if (h.elements() > 0) launch_activation_forward(handle_of(stream), arguments);
}

void CudaActivation::activation_backward(Stream& stream, const ActivationBackward& arguments) const {
  const char* op = "activation_backward";
  const Tensor& dh = arguments.dh;
  const std::int64_t inputs = inputs_of(arguments.kind, dh);
  require_compute(op, dh.dtype);
  require_rows(op, "pre", arguments.pre, dh.dtype, dh.rows(), inputs);
  optional_vector(op, "bias", arguments.bias, DType::Float32, inputs);
  require_rows(op, "dh", dh, dh.dtype, dh.rows(), dh.cols());
  require_rows(op, "dpre", arguments.dpre, dh.dtype, dh.rows(), inputs);
  if (arguments.h.defined()) require_rows(op, "h", arguments.h, dh.dtype, dh.rows(), dh.cols());
  optional_vector(op, "dbias", arguments.dbias, DType::Float32, inputs);
  WorkspaceCarver carver(arguments.workspace);
  float* bias_partials = take_bias_partials(carver, arguments);
  if (dh.elements() > 0) launch_activation_backward(handle_of(stream), arguments, bias_partials);
}

std::size_t CudaActivation::activation_backward_workspace(const ActivationBackward& arguments) const {
  WorkspaceCarver carver;
  take_bias_partials(carver, arguments);
  return carver.bytes();
}

}  // namespace plumb::cuda

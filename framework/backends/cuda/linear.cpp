#include "backends/cuda/linear.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/narrow.h"
#include "backends/cuda/row_blocks.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

MatrixProduct forward_product(const LinearForward& arguments, const Tensor& bias) {
  return {.op = "linear_forward",
          .a = arguments.x,
          .b = arguments.weight,
          .transpose_b = true,
          .c = arguments.y,
          .bias = bias};
}

MatrixProduct input_product(const LinearBackwardInput& arguments) {
  return {.op = "linear_backward_input",
          .a = arguments.dy,
          .b = arguments.weight,
          .c = arguments.dx,
          .accumulate = arguments.accumulate,
          .workspace = arguments.workspace};
}

MatrixProduct weight_product(const LinearBackwardWeight& arguments) {
  return {.op = "linear_backward_weight",
          .a = arguments.dy,
          .transpose_a = true,
          .b = arguments.x,
          .c = arguments.dweight,
          .accumulate = arguments.accumulate};
}

/// Room for the bias as the product takes it: in the dtype of y, to which y is rounded anyhow, and aligned.
/// Whether an fp32 one is aligned is not known when the workspace is planned.
Tensor take_bias(WorkspaceCarver& carver, const LinearForward& arguments) {
  if (!arguments.bias.defined()) return {};
  const std::size_t bytes = static_cast<std::size_t>(arguments.bias.elements()) * size_of(arguments.y.dtype);
  return Tensor(carver.take<std::byte>(static_cast<std::int64_t>(bytes)), arguments.y.dtype,
                arguments.bias.shape);
}

bool product_takes(const Tensor& bias, DType dtype) {
  constexpr std::uintptr_t kAligned = 16;
  return bias.dtype == dtype && reinterpret_cast<std::uintptr_t>(bias.data) % kAligned == 0;
}

float* take_partials(WorkspaceCarver& carver, const LinearBackwardWeight& arguments) {
  return arguments.dbias.defined() ? carver.take<float>(row_sum_partials(arguments.dy)) : nullptr;
}

void check_compute(const char* op, const char* name, const Tensor& tensor) {
  PLUMB_CHECK(tensor.defined(), "{}: {} is empty", op, name);
  require_compute(op, tensor.dtype);
}

}  // namespace

void CudaLinear::linear_forward(Stream& stream, const LinearForward& arguments) const {
  const char* op = "linear_forward";
  const Tensor &x = arguments.x, &y = arguments.y;
  check_compute(op, "x", x);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "weight", arguments.weight, x.dtype, y.cols(), x.cols());
  optional_vector(op, "bias", arguments.bias, DType::Float32, y.cols());
  require_rows(op, "y", y, x.dtype, x.rows(), y.cols());
  WorkspaceCarver carver(arguments.workspace);
  Tensor bias = take_bias(carver, arguments);
  if (product_takes(arguments.bias, y.dtype)) {
    bias = arguments.bias;
  } else if (bias.defined()) {
    launch_narrow("linear_forward bias", handle_of(stream), arguments.bias, bias);
  }
  MatrixProduct product = forward_product(arguments, bias);
  product.workspace = carver.rest();
  products_.run(handle_of(stream), product);
}

void CudaLinear::linear_backward_input(Stream& stream, const LinearBackwardInput& arguments) const {
  const char* op = "linear_backward_input";
  const Tensor &dy = arguments.dy, &dx = arguments.dx;
  check_compute(op, "dy", dy);
  require_rows(op, "dy", dy, dy.dtype, dy.rows(), dy.cols());
  require_rows(op, "weight", arguments.weight, dy.dtype, dy.cols(), dx.cols());
  require_rows(op, "dx", dx, dy.dtype, dy.rows(), dx.cols());
  products_.run(handle_of(stream), input_product(arguments));
}

void CudaLinear::linear_backward_weight(Stream& stream, const LinearBackwardWeight& arguments) const {
  const char* op = "linear_backward_weight";
  const Tensor &dy = arguments.dy, &x = arguments.x;
  check_compute(op, "dy", dy);
  require_rows(op, "dy", dy, dy.dtype, dy.rows(), dy.cols());
  require_rows(op, "x", x, dy.dtype, dy.rows(), x.cols());
  require_rows(op, "dweight", arguments.dweight, DType::Float32, dy.cols(), x.cols());
  optional_vector(op, "dbias", arguments.dbias, DType::Float32, dy.cols());
  WorkspaceCarver carver(arguments.workspace);
  float* partials = take_partials(carver, arguments);
  MatrixProduct product = weight_product(arguments);
  product.workspace = carver.rest();
  products_.run(handle_of(stream), product);
  // Not the library's epilogue: it would overwrite dbias, and sum in an order that is its own.
  if (partials != nullptr) launch_bias_gradient(handle_of(stream), dy, arguments.dbias, partials);
}

std::size_t CudaLinear::linear_forward_workspace(const LinearForward& arguments) const {
  WorkspaceCarver carver;
  const Tensor bias = take_bias(carver, arguments);
  return carver.bytes() + products_.workspace(forward_product(arguments, bias));
}

std::size_t CudaLinear::linear_backward_input_workspace(const LinearBackwardInput& arguments) const {
  return products_.workspace(input_product(arguments));
}

std::size_t CudaLinear::linear_backward_weight_workspace(const LinearBackwardWeight& arguments) const {
  WorkspaceCarver carver;
  take_partials(carver, arguments);
  return carver.bytes() + products_.workspace(weight_product(arguments));
}

}  // namespace plumb::cuda

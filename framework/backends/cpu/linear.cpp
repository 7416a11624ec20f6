#include "backends/cpu/arguments.h"
#include "backends/cpu/column_sums.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/matmul.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

MatmulArguments forward_product(const LinearForward& arguments) {
  return {.op = "linear_forward",
          .a = arguments.x,
          .transpose_a = false,
          .b = arguments.weight,
          .transpose_b = true,
          .c = arguments.y,
          .bias = arguments.bias,
          .accumulate = false,
          .workspace = arguments.workspace};
}

MatmulArguments input_product(const LinearBackwardInput& arguments) {
  return {.op = "linear_backward_input",
          .a = arguments.dy,
          .transpose_a = false,
          .b = arguments.weight,
          .transpose_b = false,
          .c = arguments.dx,
          .bias = {},
          .accumulate = arguments.accumulate,
          .workspace = arguments.workspace};
}

MatmulArguments weight_product(const LinearBackwardWeight& arguments) {
  return {.op = "linear_backward_weight",
          .a = arguments.dy,
          .transpose_a = true,
          .b = arguments.x,
          .transpose_b = false,
          .c = arguments.dweight,
          .bias = {},
          .accumulate = arguments.accumulate,
          .workspace = arguments.workspace};
}

void check_compute(const char* op, const char* name, const Tensor& tensor) {
  PLUMB_CHECK(tensor.defined(), "{}: {} is empty", op, name);
  if (tensor.dtype != DType::Float32 && tensor.dtype != DType::BFloat16) fail_dtype(op, tensor.dtype);
}

}  // namespace

void CpuLinear::linear_forward(Stream& /*stream*/, const LinearForward& arguments) const {
  const char* op = "linear_forward";
  const Tensor &x = arguments.x, &y = arguments.y;
  check_compute(op, "x", x);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "weight", arguments.weight, x.dtype, y.cols(), x.cols());
  optional_vector<float>(op, "bias", arguments.bias, y.cols());
  require_rows(op, "y", y, x.dtype, x.rows(), y.cols());
  matmul_.run(forward_product(arguments));
}

void CpuLinear::linear_backward_input(Stream& /*stream*/, const LinearBackwardInput& arguments) const {
  const char* op = "linear_backward_input";
  const Tensor &dy = arguments.dy, &dx = arguments.dx;
  check_compute(op, "dy", dy);
  require_rows(op, "dy", dy, dy.dtype, dy.rows(), dy.cols());
  require_rows(op, "weight", arguments.weight, dy.dtype, dy.cols(), dx.cols());
  require_rows(op, "dx", dx, dy.dtype, dy.rows(), dx.cols());
  matmul_.run(input_product(arguments));
}

void CpuLinear::linear_backward_weight(Stream& /*stream*/, const LinearBackwardWeight& arguments) const {
  const char* op = "linear_backward_weight";
  const Tensor &dy = arguments.dy, &x = arguments.x;
  check_compute(op, "dy", dy);
  require_rows(op, "dy", dy, dy.dtype, dy.rows(), dy.cols());
  require_rows(op, "x", x, dy.dtype, dy.rows(), x.cols());
  require_rows(op, "dweight", arguments.dweight, DType::Float32, dy.cols(), x.cols());
  float* dbias = optional_vector<float>(op, "dbias", arguments.dbias, dy.cols());
  matmul_.run(weight_product(arguments));
  if (dbias == nullptr) return;
  with_compute(op, dy.dtype, [&](auto element) {
    add_column_sums(dy.as<decltype(element)>(), dy.row_stride, dy.rows(), dy.cols(), dbias);
  });
}

std::size_t CpuLinear::linear_forward_workspace(const LinearForward& arguments) const {
  return matmul_.workspace(forward_product(arguments));
}

std::size_t CpuLinear::linear_backward_input_workspace(const LinearBackwardInput& arguments) const {
  return matmul_.workspace(input_product(arguments));
}

std::size_t CpuLinear::linear_backward_weight_workspace(const LinearBackwardWeight& arguments) const {
  return matmul_.workspace(weight_product(arguments));
}

}  // namespace plumb::cpu

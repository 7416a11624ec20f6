#include "backends/cpu/column_sums.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/matmul.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

MatmulArguments forward_product(const LinearForward& arguments) {
  return {.a = arguments.x,
          .transpose_a = false,
          .b = arguments.weight,
          .transpose_b = true,
          .c = arguments.y,
          .bias = arguments.bias,
          .accumulate = false,
          .workspace = arguments.workspace};
}

MatmulArguments input_product(const LinearBackwardInput& arguments) {
  return {.a = arguments.dy,
          .transpose_a = false,
          .b = arguments.weight,
          .transpose_b = false,
          .c = arguments.dx,
          .bias = {},
          .accumulate = arguments.accumulate,
          .workspace = arguments.workspace};
}

MatmulArguments weight_product(const LinearBackwardWeight& arguments) {
  return {.a = arguments.dy,
          .transpose_a = true,
          .b = arguments.x,
          .transpose_b = false,
          .c = arguments.dweight,
          .bias = {},
          .accumulate = true,
          .workspace = arguments.workspace};
}

}  // namespace

void CpuLinear::linear_forward(Stream& /*stream*/, const LinearForward& arguments) const {
  matmul_.run(forward_product(arguments));
}

void CpuLinear::linear_backward_input(Stream& /*stream*/, const LinearBackwardInput& arguments) const {
  matmul_.run(input_product(arguments));
}

void CpuLinear::linear_backward_weight(Stream& /*stream*/, const LinearBackwardWeight& arguments) const {
  matmul_.run(weight_product(arguments));
  if (!arguments.dbias.defined()) return;
  const Tensor& dy = arguments.dy;
  PLUMB_CHECK(arguments.dbias.elements() == dy.cols(), "dbias has {} elements, dy has {} columns",
              arguments.dbias.elements(), dy.cols());
  auto* dbias = arguments.dbias.as<float>();
  if (dy.dtype == DType::BFloat16) {
    add_column_sums(dy.as<bfloat16>(), dy.row_stride, dy.rows(), dy.cols(), dbias);
  } else {
    add_column_sums(dy.as<float>(), dy.row_stride, dy.rows(), dy.cols(), dbias);
  }
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

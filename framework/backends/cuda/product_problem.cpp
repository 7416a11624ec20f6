#include "backends/cuda/product_problem.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace plumb::cuda {
namespace {

unsigned alignment_of(const Tensor& tensor) {
  const auto address = reinterpret_cast<std::uintptr_t>(tensor.data);
  return address == 0 ? kPointerAlignment : std::min(kPointerAlignment, 1u << std::countr_zero(address));
}

bool is_factor(DType dtype) {
  return dtype == DType::Float32 || dtype == DType::BFloat16 || dtype == DType::Float16;
}

void check_vector(const char* op, const char* name, const Tensor& vector, std::int64_t elements,
                  DType dtype) {
  if (!vector.defined()) return;
  PLUMB_CHECK(vector.dtype == dtype && vector.elements() == elements && vector.contiguous(),
              "{}: {} is {} {}, expected {} of {} elements as the result is", op, name, name_of(vector.dtype),
              to_string(vector.shape), name_of(dtype), elements);
  PLUMB_CHECK(alignment_of(vector) == kPointerAlignment, "{}: {} is aligned to {} bytes, expected {}", op,
              name, alignment_of(vector), kPointerAlignment);
}

void check(const MatrixProduct& product, std::int64_t k_of_b, const ProductProblem& problem) {
  const char* op = product.op;
  PLUMB_CHECK(k_of_b == problem.k, "{}: inner dimensions differ: {} and {}", op, problem.k, k_of_b);
  PLUMB_CHECK(product.c.rows() == problem.m && product.c.cols() == problem.n,
              "{}: the product is ({},{}), expected ({},{})", op, product.c.rows(), product.c.cols(),
              problem.m, problem.n);
  PLUMB_CHECK(product.a.dtype == product.b.dtype && is_factor(product.a.dtype),
              "{}: the CUDA backend multiplies two factors of fp32, bf16 or fp16, got {} and {}", op,
              name_of(product.a.dtype), name_of(product.b.dtype));
  PLUMB_CHECK(product.c.dtype == DType::Float32 || product.c.dtype == product.a.dtype,
              "{}: the product is {}, expected fp32 or {}", op, name_of(product.c.dtype),
              name_of(product.a.dtype));
  check_vector(op, "bias", product.bias, problem.n, product.c.dtype);
  check_vector(op, "bias_gradient", product.bias_gradient, problem.m, product.c.dtype);
  PLUMB_CHECK(!problem.bias_gradient || (!problem.bias && !problem.gelu),
              "{}: bias_gradient does not go with bias or gelu_input", op);
  if (!problem.gelu) return;
  const Tensor& input = product.gelu_input;
  // CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD in cublasLt.h: divisible by 8.
  PLUMB_CHECK(input.dtype == product.c.dtype && input.rows() == problem.m && input.cols() == problem.n &&
                  input.row_stride % 8 == 0 && alignment_of(input) == kPointerAlignment,
              "{}: gelu_input is {} {} with a row stride of {}, expected {} ({},{}) aligned to {} bytes and "
              "a stride that is a multiple of 8",
              op, name_of(input.dtype), to_string(input.shape), input.row_stride, name_of(product.c.dtype),
              problem.m, problem.n, kPointerAlignment);
}

}  // namespace

ProductProblem ProductProblem::aligned() const {
  ProductProblem result = *this;
  result.alignment_a = result.alignment_b = result.alignment_c = kPointerAlignment;
  return result;
}

ProductProblem problem_of(const MatrixProduct& product, bool tf32) {
  const Tensor &a = product.a, &b = product.b, &c = product.c;
  ProductProblem problem;
  problem.m = product.transpose_a ? a.cols() : a.rows();
  problem.k = product.transpose_a ? a.rows() : a.cols();
  problem.n = product.transpose_b ? b.rows() : b.cols();
  problem.stride_a = a.row_stride, problem.stride_b = b.row_stride, problem.stride_c = c.row_stride;
  problem.factors = a.dtype, problem.result = c.dtype;
  problem.tf32 = tf32 && a.dtype == DType::Float32;
  problem.transpose_a = product.transpose_a, problem.transpose_b = product.transpose_b;
  problem.accumulate = product.accumulate;
  problem.bias = product.bias.defined();
  problem.gelu = product.gelu_input.defined();
  problem.bias_gradient = product.bias_gradient.defined();
  if (problem.gelu) problem.stride_gelu_input = product.gelu_input.row_stride;
  problem.alignment_a = alignment_of(a), problem.alignment_b = alignment_of(b);
  problem.alignment_c = alignment_of(c);
  check(product, product.transpose_b ? b.cols() : b.rows(), problem);
  return problem;
}

std::string describe(const char* op, const ProductProblem& problem) {
  const auto factor = [&](std::int64_t rows, std::int64_t cols, std::int64_t stride, bool transposed,
                          unsigned alignment) {
    if (transposed) std::swap(rows, cols);
    return fmt::format("{} ({},{}) ld {}{}{}", name_of(problem.factors), rows, cols, stride,
                       transposed ? " transposed" : "",
                       alignment < kPointerAlignment ? fmt::format(" at {} bytes", alignment) : "");
  };
  return fmt::format(
      "{}: c {} ({},{}) ld {} {} a {} * b {}{}{}{}{}", op, name_of(problem.result), problem.m, problem.n,
      problem.stride_c, problem.accumulate ? "+=" : "=",
      factor(problem.m, problem.k, problem.stride_a, problem.transpose_a, problem.alignment_a),
      factor(problem.k, problem.n, problem.stride_b, problem.transpose_b, problem.alignment_b),
      problem.bias ? " + bias" : "",
      problem.gelu ? fmt::format(", gelu with its input at ld {}", problem.stride_gelu_input) : "",
      problem.bias_gradient ? ", bias gradient" : "", problem.tf32 ? ", tf32" : "");
}

}  // namespace plumb::cuda

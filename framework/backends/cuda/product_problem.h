// What the choice of a matrix product's algorithm depends on.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "backends/cuda/matrix_product.h"

namespace plumb::cuda {

/// What the library is told of aligned pointers, in bytes: its widest access. A matrix may be less aligned,
/// at the cost of a slower algorithm; vectors and gelu_input may not.
inline constexpr unsigned kPointerAlignment = 16;

/// A MatrixProduct without its data, in the same row-major terms. Two products with equal problems run by the
/// same algorithm.
struct ProductProblem {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t stride_a = 0, stride_b = 0, stride_c = 0, stride_gelu_input = 0;
  DType factors = DType::Float32, result = DType::Float32;
  bool tf32 = false, transpose_a = false, transpose_b = false, accumulate = false;
  bool bias = false, gelu = false, bias_gradient = false;
  /// Bytes, powers of two up to kPointerAlignment.
  unsigned alignment_a = kPointerAlignment, alignment_b = kPointerAlignment, alignment_c = kPointerAlignment;

  auto operator<=>(const ProductProblem&) const = default;
  /// The same with all pointers aligned.
  ProductProblem aligned() const;
};

/// Checks that the shapes and dtypes fit together. A null pointer counts as aligned. Whether a row stride is
/// long enough is left to the library.
ProductProblem problem_of(const MatrixProduct& product, bool tf32);

/// "linear_forward: c bf16 (7,33) ld 40 = a bf16 (7,65) ld 79 * b bf16 (33,65) ld 65 transposed + bias".
std::string describe(const char* op, const ProductProblem& problem);

}  // namespace plumb::cuda

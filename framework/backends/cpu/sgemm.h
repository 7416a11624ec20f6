// The fp32 product on the calling thread: oneDNN's, but on processors with AVX2 and FMA and without AVX-512
// our own except for a^T b^T (avx2_product.h; what either gains: docs/performance.md).
#pragma once

#include <cstdint>

#include "backends/cpu/product.h"

namespace plumb::cpu {

/// Rows and columns of c that oneDNN's kernels work on at once, with AVX-512. Our own take 6 and 16.
inline constexpr std::int64_t kRowUnit = 8, kColumnUnit = 48;

/// Whether products of this form are our own here, of bf16 too.
bool takes_avx2_product(bool transpose_a, bool transpose_b);

/// Floats of workspace that sgemm needs for a product of this form and these sizes, or any that are smaller.
std::int64_t sgemm_workspace(const ProductSizes& sizes, bool transpose_a, bool transpose_b);

/// The product (product.h), with k >= 1. workspace: aligned to a cache line; null where none is needed.
void sgemm(const Product& product, float* workspace);

/// The same by oneDNN, whatever the processor.
void library_sgemm(const Product& product);

/// Adds bias to every row of c.
inline void add_bias(float* c, std::int64_t stride, const float* bias, std::int64_t rows, std::int64_t cols) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = c + r * stride;
    for (std::int64_t i = 0; i < cols; ++i) row[i] += bias[i];
  }
}

}  // namespace plumb::cpu

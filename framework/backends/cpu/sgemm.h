// The fp32 product of oneDNN, row-major, on the calling thread.
#pragma once

#include <oneapi/dnnl/dnnl.h>

#include <cstdint>

#include "core/error.h"

namespace plumb::cpu {

/// op(a) is (m, k), op(b) is (k, n).
struct ProductSizes {
  std::int64_t m, n, k;
};

/// Rows and columns of c that its kernels work on at once, with AVX-512.
inline constexpr std::int64_t kRowUnit = 8, kColumnUnit = 48;

/// c = op(a) op(b) + beta c; with beta = 0 the old c is not read.
inline void sgemm(bool transpose_a, bool transpose_b, const ProductSizes& sizes, const float* a,
                  std::int64_t stride_a, const float* b, std::int64_t stride_b, float beta, float* c,
                  std::int64_t stride_c) {
  const auto status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', sizes.m, sizes.n, sizes.k,
                                 1.0F, a, stride_a, b, stride_b, beta, c, stride_c);
  PLUMB_CHECK(status == dnnl_success, "oneDNN sgemm of ({},{},{}) failed with status {}", sizes.m, sizes.n,
              sizes.k, static_cast<int>(status));
}

/// Adds bias to every row of c.
inline void add_bias(float* c, std::int64_t stride, const float* bias, std::int64_t rows, std::int64_t cols) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = c + r * stride;
    for (std::int64_t i = 0; i < cols; ++i) row[i] += bias[i];
  }
}

}  // namespace plumb::cpu

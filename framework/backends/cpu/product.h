// An fp32 product, row-major, as what multiplies it on one thread takes it.
#pragma once

#include <cstdint>

namespace plumb::cpu {

/// op(a) is (m, k), op(b) is (k, n).
struct ProductSizes {
  std::int64_t m, n, k;
};

/// A factor whose rows lie stride floats apart; op transposes it where asked.
struct Factor {
  const float* data;
  std::int64_t stride;
  bool transposed;
};

/// c = op(a) op(b) [+ bias] [+ c]. Where c is not added its old values are not read.
struct Product {
  ProductSizes sizes;
  Factor a, b;
  float* c;
  std::int64_t stride_c;
  bool accumulate;
  const float* bias = nullptr;  ///< (n), added to every row; null = none; not together with accumulate
};

}  // namespace plumb::cpu

// A product with sums in fp32, row-major, as what multiplies it on one thread takes it.
#pragma once

#include <cstdint>

namespace plumb::cpu {

/// op(a) is (m, k), op(b) is (k, n).
struct ProductSizes {
  std::int64_t m, n, k;
};

/// A factor whose rows lie stride elements apart; op transposes it where asked. Element: float, or the bits
/// of a bfloat16 (dtype.h).
template <class Element>
struct FactorOf {
  const Element* data;
  std::int64_t stride;
  bool transposed;
};

/// c = op(a) op(b) [+ bias] [+ c]. Where c is not added its old values are not read.
template <class Element>
struct ProductOf {
  ProductSizes sizes;
  FactorOf<Element> a, b;
  float* c;
  std::int64_t stride_c;
  bool accumulate;
  const float* bias = nullptr;  ///< (n), added to every row; null = none; not together with accumulate
};

using Product = ProductOf<float>;

}  // namespace plumb::cpu

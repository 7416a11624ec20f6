// A product of fp32 or bf16 with sums in fp32, by kernels for processors with AVX2 and FMA, on the calling
// thread: a b, a b^T (a layer's forward) and a^T b (a weight's gradient, dY^T X). sgemm.h says when they are
// taken.
#pragma once

#include <cstdint>

#include "backends/cpu/product.h"

namespace plumb::cpu {

/// Whether there are kernels for this form.
constexpr bool is_avx2_product(bool transpose_a, bool transpose_b) { return !(transpose_a && transpose_b); }

/// Floats of workspace that avx2_product needs for these sizes, and for any that are smaller.
std::int64_t avx2_product_workspace(const ProductSizes& sizes, bool transpose_a);

/// The product (product.h), with k >= 1 and not both factors transposed, on a processor that has AVX2 and
/// FMA. workspace: aligned to 32 bytes. The bits of an element of c depend on its row of op(a), its column of
/// op(b), what is added to it and whether a is transposed: not on m and n.
void avx2_product(const Product& product, float* workspace);
/// The same of bf16: its bits are those of the product of the widened factors.
void avx2_product(const ProductOf<std::uint16_t>& product, float* workspace);

}  // namespace plumb::cpu

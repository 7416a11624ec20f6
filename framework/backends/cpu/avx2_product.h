// a^T b in fp32 by kernels for processors with AVX2 and FMA, on the calling thread: the form of a weight's
// gradient, dY^T X. sgemm.h says when it is taken.
#pragma once

#include <cstdint>

#include "backends/cpu/product.h"

namespace plumb::cpu {

/// Floats of workspace that avx2_product needs for these sizes, and for any that are smaller.
std::int64_t avx2_product_workspace(const ProductSizes& sizes);

/// The product (product.h) without its bias, with a transposed and b not, k >= 1, on a processor that has
/// AVX2 and FMA. workspace: aligned to 32 bytes. The bits of an element of c depend on its column of a, its
/// column of b and what it is added to: not on m and n.
void avx2_product(const Product& product, float* workspace);

}  // namespace plumb::cpu

// The fp32 product in blocks that stay in cache, by kernels for processors with AVX2 and FMA and without
// AVX-512, on the calling thread. sgemm.h says when it is taken.
#pragma once

#include <cstdint>

#include "backends/cpu/product.h"

namespace plumb::cpu {

/// Floats of workspace that avx2_product needs for these sizes, and for any that are smaller.
std::int64_t avx2_product_workspace(const ProductSizes& sizes);

/// product.h's product, with k >= 1, on a processor that has AVX2 and FMA. workspace: aligned to 32 bytes.
/// The bits of an element of c depend on its row of op(a), its column of op(b), and what is added: not on m
/// and n.
void avx2_product(const Product& product, float* workspace);

}  // namespace plumb::cpu

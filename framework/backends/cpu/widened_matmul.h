// bf16 products where the processor has no tiles for them, on the calling thread: widened to fp32 as our own
// product packs them (avx2_product.h), or by blocks for oneDNN's.
#pragma once

#include <cstddef>

#include "backends/cpu/matmul.h"
#include "backends/cpu/sgemm.h"

namespace plumb::cpu {

void multiply_widened(const MatmulArguments& arguments, const ProductSizes& sizes);
/// Bytes of workspace for these shapes (data pointers are not looked at).
std::size_t widened_workspace(const MatmulArguments& arguments, const ProductSizes& sizes);

}  // namespace plumb::cpu

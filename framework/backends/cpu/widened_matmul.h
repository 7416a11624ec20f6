// bf16 products where the processor has no tiles for them, on the calling thread.
#pragma once

#include <cstddef>

#include "backends/cpu/matmul.h"
#include "backends/cpu/product.h"

namespace plumb::cpu {

/// How factors are widened to fp32.
enum class Widening {
  AsPacked,  ///< by our own product (avx2_product.h), for its forms and processors
  InBlocks   ///< one block after another, for oneDNN's product
};

void multiply_widened(const MatmulArguments& arguments, const ProductSizes& sizes, Widening widening);
/// Bytes of workspace for these shapes (data pointers are not looked at).
std::size_t widened_workspace(const MatmulArguments& arguments, const ProductSizes& sizes, Widening widening);

}  // namespace plumb::cpu

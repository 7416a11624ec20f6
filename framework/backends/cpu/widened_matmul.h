// bf16 products where the processor has no tiles for them: blocks are widened to fp32 and multiplied there,
// on the calling thread.
#pragma once

#include <cstddef>

#include "backends/cpu/matmul.h"
#include "backends/cpu/sgemm.h"

namespace plumb::cpu {

void multiply_widened(const MatmulArguments& arguments, const ProductSizes& sizes);
/// Bytes of workspace for these shapes (data pointers are not looked at).
std::size_t widened_workspace(const MatmulArguments& arguments, const ProductSizes& sizes);

}  // namespace plumb::cpu

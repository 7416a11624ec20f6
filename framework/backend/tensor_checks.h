// What every backend checks of the tensors that its ops are given.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace plumb {

/// Throw Error "<op>: <name> is ..., expected ..." unless the tensor has data, this dtype and this shape
/// (rows may be strided; a vector must be contiguous).
void require_rows(const char* op, const char* name, const Tensor& tensor, DType dtype, std::int64_t rows,
                  std::int64_t cols);
void require_vector(const char* op, const char* name, const Tensor& tensor, DType dtype,
                    std::int64_t elements);

/// Sequences that so many rows make up. A rows_per_sequence below 1 counts as 1: the op itself refuses it.
inline std::int64_t sequences_of(std::int64_t rows, std::int64_t rows_per_sequence) {
  return rows_per_sequence < 1 ? rows : (rows + rows_per_sequence - 1) / rows_per_sequence;
}

}  // namespace plumb

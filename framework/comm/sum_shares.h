// The arithmetic of sums over ranks: element by element, in the order of the ranks.
#pragma once

#include <cstdint>
#include <span>

#include "core/dtype.h"

namespace plumb {

/// Every target receives from[0] + from[1] + ..., added in this order, element by element, in the dtype
/// itself (fp32 or fp64). Arrays of `count` elements; a target may be one of the sources, otherwise none
/// overlaps another. At least one source and one target.
void sum_in_order(std::span<const void* const> from, std::span<void* const> targets, std::int64_t count,
                  DType dtype);

/// `rows` (n, count) of bf16, row after row: into[i] = the sum of column i in fp32, in the order of the rows,
/// rounded to bf16 once.
void sum_rounded_rows(const bfloat16* rows, std::int64_t n, std::int64_t count, bfloat16* into);

/// Rounds to nearest even, and the other way.
void round_to_bfloat16(const float* from, bfloat16* to, std::int64_t count);
void widen_from_bfloat16(const bfloat16* from, float* to, std::int64_t count);

}  // namespace plumb

// The arithmetic of the emulated NCCL.
#pragma once

#include <nccl.h>

#include <cstddef>
#include <span>
#include <vector>

namespace plumb::emulation {

/// 0: not a type that is modelled.
std::size_t element_bytes(ncclDataType_t type);
const char* name_of(ncclDataType_t type);
const char* name_of(ncclRedOp_t operation);
bool is_modelled(ncclRedOp_t operation);

/// Reduces the ranks' contributions in the order of ranks into `result`, which has the length of each of
/// them. Every partial sum is rounded to the type, as a ring rounds at each hop. ncclAvg multiplies each
/// contribution by 1/ranks, itself rounded to the type, before the sum (floating-point types), or divides the
/// sum (integers), as NCCL's hostToDevRedOp has it. ncclMax and ncclMin LOSE a NaN when the other side is a
/// number, as fmaxf and __hmax do in NCCL's reduce_kernel.h.
void reduce(ncclDataType_t type, ncclRedOp_t operation, const std::vector<std::span<const std::byte>>& ranks,
            std::span<std::byte> result);

}  // namespace plumb::emulation

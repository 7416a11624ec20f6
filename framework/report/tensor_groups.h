// Statistics of tensors gathered by kind ("attention.qkv.weight" of all blocks) and by block.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "report/run_data.h"

namespace plumb {

/// The place of each tensor, by its name "blocks.<n>.<kind>" or "<kind>".
struct TensorGroups {
  std::vector<std::string> kinds;                       ///< in the order in which blocks use them
  std::vector<std::vector<std::size_t>> by_kind;        ///< tensors of a kind
  std::vector<std::vector<std::size_t>> by_block;       ///< tensors of a block (L)
  std::vector<std::vector<std::size_t>> block_weights;  ///< of them the matrices, or all where there is none
};
TensorGroups group_tensors(const std::vector<std::string>& names);

/// Adds to run.stability.arrays what the tensor fields allow: "kind.update_ratio", "kind.adam_lag" (kinds,
/// median over tensors), "block.update_ratio" (L, median over matrices) and "block.grad_norm" (L, 2-norm over
/// all tensors). Returns the names of the kinds.
std::vector<std::string> add_tensor_groups(RunData& run);

}  // namespace plumb

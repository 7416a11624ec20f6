// What the hashes of all ranks say of their replicas.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace plumb {

struct ReplicaDifference {
  /// That differ from what more than half of all ranks hold; where no content of a tensor has such a
  /// majority, all ranks.
  std::vector<int> ranks;
  bool has_majority = true;           ///< of every tensor: the ranks named are those at fault
  std::vector<std::int64_t> tensors;  ///< whose content is not the same on all ranks, ascending

  bool operator==(const ReplicaDifference&) const = default;
};

/// Of (world, tensors) hashes; nothing where all ranks hold the same.
std::optional<ReplicaDifference> replica_difference(std::span<const std::int64_t> hashes, int world);

}  // namespace plumb

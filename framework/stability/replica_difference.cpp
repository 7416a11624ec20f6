#include "stability/replica_difference.h"

#include <algorithm>

#include "core/error.h"

namespace plumb {
namespace {

/// The value that more than half of the ranks hold, if there is one (the only candidate is the middle one).
std::optional<std::int64_t> majority(std::vector<std::int64_t> values) {
  std::sort(values.begin(), values.end());
  const std::int64_t middle = values[values.size() / 2];
  const auto [first, last] = std::equal_range(values.begin(), values.end(), middle);
  if (2 * static_cast<std::size_t>(last - first) <= values.size()) return std::nullopt;
  return middle;
}

}  // namespace

std::optional<ReplicaDifference> replica_difference(std::span<const std::int64_t> hashes, int world) {
  PLUMB_CHECK(world >= 1 && hashes.size() % static_cast<std::size_t>(world) == 0, "{} hashes of {} ranks",
              hashes.size(), world);
  const std::size_t ranks = static_cast<std::size_t>(world), tensors = hashes.size() / ranks;
  ReplicaDifference difference;
  std::vector<bool> differs(ranks, false);
  std::vector<std::int64_t> values(ranks);
  for (std::size_t tensor = 0; tensor < tensors; ++tensor) {
    for (std::size_t rank = 0; rank < ranks; ++rank) values[rank] = hashes[rank * tensors + tensor];
    const bool all_same = std::all_of(values.begin(), values.end(), [&](auto v) { return v == values[0]; });
    if (all_same) continue;
    difference.tensors.push_back(static_cast<std::int64_t>(tensor));
    const std::optional<std::int64_t> common = majority(values);
    difference.has_majority = difference.has_majority && common.has_value();
    for (std::size_t rank = 0; rank < ranks; ++rank)
      differs[rank] = differs[rank] || !common || values[rank] != *common;
  }
  if (difference.tensors.empty()) return std::nullopt;
  for (std::size_t rank = 0; rank < ranks; ++rank)
    if (differs[rank]) difference.ranks.push_back(static_cast<int>(rank));
  return difference;
}

}  // namespace plumb

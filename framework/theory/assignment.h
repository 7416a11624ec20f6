// The assignment problem: n workers, n jobs, the cheapest one-to-one choice.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace plumb {

struct Assignment {
  std::vector<std::int64_t> job_of;  ///< of every worker
  double cost = 0;                   ///< summed
};

/// cost: (n, n), cost[worker * n + job], finite. Exact, O(n^3): the Hungarian method with potentials and
/// shortest augmenting paths (Kuhn 1955; Jonker and Volgenant, Computing 38, 1987).
Assignment cheapest_assignment(std::span<const double> cost, std::int64_t n);

}  // namespace plumb

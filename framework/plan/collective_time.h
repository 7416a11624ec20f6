// How long a collective takes on a fabric, by the algorithm that the library would choose.
#pragma once

#include <cstdint>
#include <string_view>

#include "plan/fabric.h"

namespace plumb {

/// As CollectiveObserver names them; start_* are the asynchronous ones.
enum class CollectiveKind {
  AllReduce,
  RoundedAllReduce,
  ReduceScatter,
  AllGather,
  AllGatherRows,
  Broadcast,
  Barrier
};

/// Ranks numbered host by host, `ranks_per_host` on each but the last one.
struct PlannedWorld {
  int ranks = 1;
  int ranks_per_host = 1;

  int hosts() const { return (ranks + ranks_per_host - 1) / ranks_per_host; }
  /// Ranks of the fullest host.
  int local() const { return ranks < ranks_per_host ? ranks : ranks_per_host; }
};

/// What a collective pays: latencies and bytes of each link, one after the other.
struct LinkUse {
  double latencies = 0, bytes = 0;
};
struct CollectiveCost {
  LinkUse inside, between;
  std::string_view algorithm;  ///< "shared memory + tree", "ring", ...
};

// Sums of `bytes` over n ranks that one link joins.
/// Rabenseifner-like ring: 2 (n-1) messages of bytes / n (Patarasuk and Yuan, JPDC 69(2), 2009).
LinkUse ring_all_reduce(int n, double bytes);
/// Either half of it: a reduce-scatter, an all-gather.
LinkUse ring_half(int n, double bytes);
/// Binomial tree to the root and back (Open MPI's in-place MPI_Iallreduce, ompi/mca/coll/libnbc), in pieces
/// that follow each other: both directions of the root's link are busy at the same time with different
/// pieces, each for ceil(log2 n) * bytes. `pieces` one after the other pay a latency each.
LinkUse tree_all_reduce(int n, double bytes, double pieces);
/// Two binary trees, each with half of the bytes, up and down (NCCL: Sanders, Speck and Traeff, Parallel
/// Computing 35(12), 2009).
LinkUse double_tree_all_reduce(int n, double bytes);

/// In which way such a collective uses a link.
const LinkWay& way_of(CollectiveKind kind);

/// The collective of `bytes` (of the whole tensor where ranks hold parts of it) in this world. Of NCCL the
/// cheaper one of ring and tree.
CollectiveCost collective_cost(CollectiveKind kind, double bytes, const PlannedWorld& world,
                               const Fabric& fabric);

struct CollectiveTime {
  double seconds = 0;
  double busy = 0;  ///< of them, for which the core that computes is taken: not hidden
  double per_poll = LinkSpeed::kNeedsNoPolls;  ///< of the slowest link
  std::string_view algorithm;
};
/// InputError when the world needs a link that the fabric was not measured for.
CollectiveTime collective_time(CollectiveKind kind, double bytes, const PlannedWorld& world,
                               const Fabric& fabric);

}  // namespace plumb

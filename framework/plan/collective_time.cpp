#include "plan/collective_time.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

/// MpiCommunicator's and MpiHostExchange's: pieces of a tensor, and how many are under way at a time.
constexpr double kPieceBytes = 1 << 20, kPiecesAtATime = 4;

double levels(int n) {
  int depth = 0;
  while ((1 << depth) < n) ++depth;
  return depth;
}

/// Latencies that the pieces of a tensor pay one after the other.
double turns(double bytes) { return std::max(1.0, std::ceil(bytes / kPieceBytes) / kPiecesAtATime); }

LinkUse operator+(const LinkUse& a, const LinkUse& b) {
  return {a.latencies + b.latencies, a.bytes + b.bytes};
}

/// Nothing for a link that is not there: require_links() has seen to it that it is not used.
LinkSpeed speed_of(const std::optional<Link>& link, CollectiveKind kind) {
  return link ? (*link).*way_of(kind).speed : LinkSpeed{};
}

double seconds(const LinkUse& use, const LinkSpeed& speed) {
  return use.latencies * speed.latency + use.bytes * speed.seconds_per_byte;
}

/// A sum of fp32 by host (docs/design/communication.md): one pass over shared memory, and each rank's share
/// between hosts, whose bytes are the whole tensor's together.
CollectiveCost sum_by_host(double bytes, const PlannedWorld& world, bool rounded) {
  CollectiveCost cost;
  cost.algorithm = "shared memory";
  if (world.local() > 1) cost.inside = {1, bytes};
  const int hosts = world.hosts();
  if (hosts == 1) return cost;
  const double share = bytes / world.local();
  if (rounded) {
    // Each host's part to all, and the sum's parts to all, in 2 bytes instead of 4.
    cost.between = {2 * levels(hosts) * turns(share / 2), (hosts - 1.0) / hosts * bytes};
    cost.algorithm = world.local() > 1 ? "shared memory + all-to-all" : "all-to-all";
    return cost;
  }
  cost.between = tree_all_reduce(hosts, bytes, turns(share));
  cost.algorithm = world.local() > 1 ? "shared memory + tree" : "tree";
  return cost;
}

/// Messages between all ranks alike, `bytes` of the whole: every rank takes in what it lacks. All ranks of a
/// host share its link, so that it carries what each of them takes in from elsewhere.
CollectiveCost by_messages(double bytes, const PlannedWorld& world, double pieces) {
  const int hosts = world.hosts();
  CollectiveCost cost;
  cost.algorithm = "messages";
  const double lacking = (world.ranks - 1.0) / world.ranks * bytes;
  if (hosts == 1) {
    cost.inside = {levels(world.ranks) * pieces, lacking};
  } else {
    cost.between = {levels(world.ranks) * pieces, lacking * world.local()};
  }
  return cost;
}

CollectiveCost mpi_cost(CollectiveKind kind, double bytes, const PlannedWorld& world) {
  switch (kind) {
    case CollectiveKind::AllReduce:
      return sum_by_host(bytes, world, false);
    case CollectiveKind::RoundedAllReduce:
      return sum_by_host(bytes, world, true);
    case CollectiveKind::ReduceScatter:
      // Where all ranks share a host it is an all-reduce (docs/design/sharded_optimizer.md).
      if (world.hosts() == 1) return sum_by_host(bytes, world, false);
      return by_messages(bytes, world, turns(bytes));
    case CollectiveKind::AllGatherRows:
      return by_messages(bytes, world, turns(bytes));
    case CollectiveKind::AllGather:
      return by_messages(bytes, world, 1);
    case CollectiveKind::Broadcast:
    case CollectiveKind::Barrier:
      break;
  }
  CollectiveCost cost = by_messages(0, world, 1);
  LinkUse& use = world.hosts() == 1 ? cost.inside : cost.between;
  use.bytes = bytes;
  return cost;
}

/// Steps of a ring over all ranks, of which as many as there are hosts cross between two of them; the slower
/// link sets the pace of all bytes (NCCL, src/graph/tuning.cc, has latencies so).
CollectiveCost nccl_ring(const LinkUse& use, double passes, const PlannedWorld& world) {
  CollectiveCost cost;
  cost.algorithm = "ring";
  const int hosts = world.hosts();
  if (hosts == 1) {
    cost.inside = use;
  } else {
    cost.inside = {passes * (world.ranks - hosts), 0};
    cost.between = {passes * (hosts - 1), use.bytes};
  }
  return cost;
}

/// A chain inside every host, a tree between them.
CollectiveCost nccl_tree(double bytes, const PlannedWorld& world) {
  CollectiveCost cost;
  cost.algorithm = "tree";
  const LinkUse use = double_tree_all_reduce(world.hosts(), bytes);
  cost.inside = {2.0 * (world.local() - 1), 0};
  cost.between = use;
  if (world.hosts() == 1) cost.inside.bytes = 2 * bytes;
  return cost;
}

double seconds(const CollectiveCost& cost, CollectiveKind kind, const Fabric& fabric) {
  return seconds(cost.inside, speed_of(fabric.inside, kind)) +
         seconds(cost.between, speed_of(fabric.between, kind));
}

CollectiveCost nccl_cost(CollectiveKind kind, double bytes, const PlannedWorld& world, const Fabric& fabric) {
  const int n = world.ranks;
  if (kind == CollectiveKind::AllReduce || kind == CollectiveKind::RoundedAllReduce) {
    const CollectiveCost ring = nccl_ring(ring_all_reduce(n, bytes), 2, world),
                         tree = nccl_tree(bytes, world);
    return seconds(ring, kind, fabric) <= seconds(tree, kind, fabric) ? ring : tree;
  }
  return nccl_ring(ring_half(n, bytes), 1, world);
}

void require_links(const PlannedWorld& world, const Fabric& fabric) {
  if (world.hosts() > 1 && !fabric.between) {
    fail_input(
        "{} ranks, {} a host, are on several hosts, and the fabric has no speed between hosts: measure it on "
        "two of them, or plan for as many --ranks-per-host",
        world.ranks, world.ranks_per_host);
  }
  if (world.local() > 1 && !fabric.inside) {
    fail_input(
        "{} ranks, {} a host, share hosts, and the fabric has no speed inside one: measure it with several "
        "ranks on a host, or plan for --ranks-per-host 1",
        world.ranks, world.ranks_per_host);
  }
}

}  // namespace

LinkUse ring_half(int n, double bytes) { return {n - 1.0, (n - 1.0) / n * bytes}; }
LinkUse ring_all_reduce(int n, double bytes) { return ring_half(n, bytes) + ring_half(n, bytes); }
LinkUse tree_all_reduce(int n, double bytes, double pieces) {
  return {2 * levels(n) * pieces, levels(n) * bytes};
}
LinkUse double_tree_all_reduce(int n, double bytes) {
  return n == 1 ? LinkUse{} : LinkUse{2 * levels(n), 2 * bytes};
}

const LinkWay& way_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::AllReduce:
    case CollectiveKind::RoundedAllReduce:
      return kSums;
    case CollectiveKind::ReduceScatter:
      return kToOwners;
    case CollectiveKind::AllGather:
    case CollectiveKind::AllGatherRows:
    case CollectiveKind::Broadcast:
    case CollectiveKind::Barrier:
      break;
  }
  return kGathers;
}

CollectiveCost collective_cost(CollectiveKind kind, double bytes, const PlannedWorld& world,
                               const Fabric& fabric) {
  if (world.ranks == 1) return {};
  return fabric.library == CollectiveLibrary::Mpi ? mpi_cost(kind, bytes, world)
                                                  : nccl_cost(kind, bytes, world, fabric);
}

CollectiveTime collective_time(CollectiveKind kind, double bytes, const PlannedWorld& world,
                               const Fabric& fabric) {
  require_links(world, fabric);
  const CollectiveCost cost = collective_cost(kind, bytes, world, fabric);
  const LinkSpeed near = speed_of(fabric.inside, kind), far = speed_of(fabric.between, kind);
  const double inside = seconds(cost.inside, near), between = seconds(cost.between, far);
  const double busy = inside * (1 - near.hidden) + between * (1 - far.hidden);
  double per_poll = LinkSpeed::kNeedsNoPolls;
  if (inside > 0) per_poll = near.per_poll;
  if (between > 0) per_poll = std::min(per_poll, far.per_poll);
  return {.seconds = inside + between, .busy = busy, .per_poll = per_poll, .algorithm = cost.algorithm};
}

}  // namespace plumb

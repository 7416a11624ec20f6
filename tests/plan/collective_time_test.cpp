// Costs of collectives against messages counted one by one.
#include "plan/collective_time.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kMebi = 1 << 20;

TEST(CollectiveTime, RingMovesEveryPartAroundTwice) {
  // Rank r sends part (r - i) in step i of a reduce-scatter and of an all-gather: count steps and bytes.
  for (const int n : {1, 2, 3, 8}) {
    double steps = 0, bytes = 0;
    for (int half = 0; half < 2; ++half) {
      for (int step = 0; step + 1 < n; ++step) {
        steps += 1;
        bytes += 1000.0 / n;
      }
    }
    EXPECT_DOUBLE_EQ(ring_all_reduce(n, 1000).latencies, steps);
    EXPECT_NEAR(ring_all_reduce(n, 1000).bytes, bytes, 1e-9);
    EXPECT_NEAR(2 * ring_half(n, 1000).bytes, bytes, 1e-9);
  }
}

/// Rounds of a binomial tree until rank 0 has the parts of all: in a round every rank whose part has not been
/// sent away, and is odd among those left, sends it to its left neighbour.
int rounds_to_root(int ranks) {
  std::vector<int> left(static_cast<std::size_t>(ranks));
  int rounds = 0;
  for (; left.size() > 1; ++rounds) left.resize((left.size() + 1) / 2);
  return rounds;
}

TEST(CollectiveTime, TreeHasARoundForEveryDoubling) {
  for (const int n : {1, 2, 3, 4, 5, 8, 9, 4096}) {
    EXPECT_DOUBLE_EQ(tree_all_reduce(n, 1000, 1).latencies, 2.0 * rounds_to_root(n)) << n;
    EXPECT_DOUBLE_EQ(tree_all_reduce(n, 1000, 3).latencies, 6.0 * rounds_to_root(n)) << n;
    EXPECT_DOUBLE_EQ(tree_all_reduce(n, 1000, 1).bytes, 1000.0 * rounds_to_root(n)) << n;
    EXPECT_DOUBLE_EQ(double_tree_all_reduce(n, 1000).bytes, n > 1 ? 2000 : 0) << n;
  }
}

Link alike(const LinkSpeed& speed) { return {.sums = speed, .to_owners = speed, .gathers = speed}; }

/// However a link is used, it is as fast.
Fabric fabric_of(CollectiveLibrary library) {
  Fabric fabric;
  fabric.library = library;
  fabric.ranks = 4;
  fabric.hosts = 2;
  fabric.inside = alike({.latency = 1e-6, .seconds_per_byte = 1e-10, .hidden = 0});
  fabric.between = alike({.latency = 5e-5, .seconds_per_byte = 8e-9, .hidden = 0.75});
  return fabric;
}

TEST(CollectiveTime, SumsByHostPassSharedMemoryOnceAndTheNetworkAsATree) {
  const Fabric fabric = fabric_of(CollectiveLibrary::Mpi);
  const double bytes = 8 * kMebi;
  const double inside = 1e-6 + bytes * 1e-10;
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::AllReduce, bytes, {2, 2}, fabric).seconds, inside);
  // Two hosts of two ranks: each rank's share has 4 pieces, all under way together.
  const double between = 2 * 5e-5 + bytes * 8e-9;
  const CollectiveTime both = collective_time(CollectiveKind::AllReduce, bytes, {4, 2}, fabric);
  EXPECT_DOUBLE_EQ(both.seconds, inside + between);
  EXPECT_DOUBLE_EQ(both.busy, inside + 0.25 * between);
  // Two hosts of one: 8 pieces, four at a time.
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::AllReduce, bytes, {2, 1}, fabric).seconds,
                   2 * 2 * 5e-5 + bytes * 8e-9);
  // Half the bytes in bf16.
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::RoundedAllReduce, bytes, {2, 1}, fabric).seconds,
                   2 * 5e-5 + bytes / 2 * 8e-9);
}

TEST(CollectiveTime, ShardsGoByMessagesBetweenHosts) {
  const Fabric fabric = fabric_of(CollectiveLibrary::Mpi);
  const double bytes = 2 * kMebi;
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::ReduceScatter, bytes, {2, 2}, fabric).seconds,
                   collective_time(CollectiveKind::AllReduce, bytes, {2, 2}, fabric).seconds);
  // Each of two ranks on hosts of their own takes in half of it.
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::AllGatherRows, bytes, {2, 1}, fabric).seconds,
                   5e-5 + bytes / 2 * 8e-9);
}

TEST(CollectiveTime, EveryKindTakesTheSpeedOfItsWay) {
  Fabric fabric = fabric_of(CollectiveLibrary::Mpi);
  fabric.between = Link{.sums = {.latency = 0, .seconds_per_byte = 8e-9, .hidden = 0.25, .per_poll = 1},
                        .to_owners = {.latency = 0, .seconds_per_byte = 4e-9, .hidden = 0.5, .per_poll = 2},
                        .gathers = {.latency = 0, .seconds_per_byte = 2e-9, .hidden = 0.75, .per_poll = 3}};
  const auto expect = [&](CollectiveKind kind, double seconds, double busy, double per_poll) {
    const CollectiveTime time = collective_time(kind, 2e6, {2, 1}, fabric);
    EXPECT_DOUBLE_EQ(time.seconds, seconds) << static_cast<int>(kind);
    EXPECT_DOUBLE_EQ(time.busy, busy) << static_cast<int>(kind);
    EXPECT_EQ(time.per_poll, per_poll) << static_cast<int>(kind);
  };
  // Two hosts: all of a sum or a broadcast, half of the others.
  expect(CollectiveKind::AllReduce, 16e-3, 12e-3, 1);
  expect(CollectiveKind::RoundedAllReduce, 8e-3, 6e-3, 1);
  expect(CollectiveKind::ReduceScatter, 4e-3, 2e-3, 2);
  expect(CollectiveKind::AllGatherRows, 2e-3, 0.5e-3, 3);
  expect(CollectiveKind::AllGather, 2e-3, 0.5e-3, 3);
  expect(CollectiveKind::Broadcast, 4e-3, 1e-3, 3);
}

TEST(CollectiveTime, InsideAHostKindsTakeTheSpeedsOfTheirWaysToo) {
  Fabric fabric = fabric_of(CollectiveLibrary::Mpi);
  fabric.inside->to_owners.seconds_per_byte = 3e-10;
  fabric.inside->gathers.seconds_per_byte = 7e-10;
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::AllReduce, 1e6, {2, 2}, fabric).seconds, 1e-6 + 1e-4);
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::ReduceScatter, 1e6, {2, 2}, fabric).seconds, 1e-6 + 3e-4);
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::AllGatherRows, 1e6, {2, 2}, fabric).seconds,
                   1e-6 + 3.5e-4);
}

TEST(CollectiveTime, NcclTakesTheCheaperOfRingAndTree) {
  const Fabric fabric = fabric_of(CollectiveLibrary::Nccl);
  for (const double bytes : {1e3, 1e5, 1e7, 1e9}) {
    const PlannedWorld world{64, 4};  // 16 hosts: ceil(log2) = 4
    const double ring = 2 * (48 * 1e-6 + 15 * 5e-5) + 2 * 63.0 / 64 * bytes * 8e-9;
    const double tree = 2 * (3 * 1e-6 + 4 * 5e-5) + 2 * bytes * 8e-9;
    const CollectiveTime time = collective_time(CollectiveKind::AllReduce, bytes, world, fabric);
    EXPECT_NEAR(time.seconds, std::min(ring, tree), 1e-12 * bytes);
    EXPECT_EQ(time.algorithm, ring <= tree ? "ring" : "tree");
  }
}

TEST(CollectiveTime, NcclHalvesOfARingTakeTheSpeedsOfTheirWays) {
  Fabric fabric = fabric_of(CollectiveLibrary::Nccl);
  fabric.between->to_owners.seconds_per_byte = 4e-9;
  fabric.between->gathers.seconds_per_byte = 2e-9;
  const PlannedWorld world{2, 1};
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::ReduceScatter, 1e6, world, fabric).seconds, 5e-5 + 2e-3);
  EXPECT_DOUBLE_EQ(collective_time(CollectiveKind::AllGatherRows, 1e6, world, fabric).seconds, 5e-5 + 1e-3);
}

TEST(CollectiveTime, OneRankPaysNothing) {
  const Fabric fabric = fabric_of(CollectiveLibrary::Mpi);
  EXPECT_EQ(collective_time(CollectiveKind::AllReduce, 1e9, {1, 1}, fabric).seconds, 0);
}

TEST(CollectiveTime, ALinkThatWasNotMeasuredIsSaid) {
  Fabric fabric = fabric_of(CollectiveLibrary::Mpi);
  fabric.between.reset();
  EXPECT_THROW(collective_time(CollectiveKind::AllReduce, 1, {4, 2}, fabric), InputError);
  fabric = fabric_of(CollectiveLibrary::Mpi);
  fabric.inside.reset();
  EXPECT_THROW(collective_time(CollectiveKind::AllReduce, 1, {2, 2}, fabric), InputError);
  EXPECT_NO_THROW(collective_time(CollectiveKind::AllReduce, 1, {2, 1}, fabric));
}

}  // namespace
}  // namespace plumb

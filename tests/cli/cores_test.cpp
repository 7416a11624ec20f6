// Threads of a rank, from the affinity masks of the ranks of a host.
#include "cores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <numeric>

#include "program.h"

namespace plumb {
namespace {
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::SizeIs;

std::vector<int> cores(int first, int count) {
  std::vector<int> list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), first);
  return list;
}

std::vector<int> threads_of(const std::vector<std::vector<int>>& ranks) {
  std::vector<int> threads;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) threads.push_back(fair_threads(ranks, rank));
  return threads;
}

TEST(FairThreads, RanksBoundToCoresOfTheirOwnTakeThem) {
  EXPECT_THAT(threads_of({cores(0, 8), cores(8, 8), cores(16, 4)}), ElementsAre(8, 8, 4));
}

TEST(FairThreads, UnboundRanksShareTheHost) {
  EXPECT_THAT(threads_of({cores(0, 16)}), ElementsAre(16));
  EXPECT_THAT(threads_of({cores(0, 16), cores(0, 16), cores(0, 16)}), ElementsAre(5, 5, 5));
}

TEST(FairThreads, FourRanksBoundToEachOfTwoSocketsShareThem) {
  const std::vector<int> left = cores(0, 32), right = cores(32, 32);
  EXPECT_THAT(threads_of({left, right, left, right, left, right, left, right}),
              ElementsAre(8, 8, 8, 8, 8, 8, 8, 8));
}

TEST(FairThreads, OnlyWhatOverlapsIsDivided) {
  // 4 of its own and a half of 4, twice.
  EXPECT_THAT(threads_of({cores(0, 8), cores(4, 8)}), ElementsAre(6, 6));
  // A third of each of three cores makes one.
  EXPECT_THAT(threads_of({cores(0, 3), cores(0, 3), cores(0, 3)}), ElementsAre(1, 1, 1));
}

TEST(FairThreads, MoreRanksThanCoresHaveOneEach) {
  EXPECT_THAT(threads_of({{7}, {7}, {7}}), ElementsAre(1, 1, 1));
}

TEST(Cores, HardwareThreadsOfOneCoreCountOnce) {
  const test::Folder folder;
  // Four cores of two hardware threads, 0 with 4 and so on, as the kernel describes them; nothing about 9.
  for (int n = 0; n < 8; ++n) {
    const std::string place = "cpu" + std::to_string(n) + "/topology";
    std::filesystem::create_directories(folder.path() / place);
    test::write_file(folder / (place + "/thread_siblings_list"),
                     std::to_string(n % 4) + "," + std::to_string(n % 4 + 4) + "\n");
  }
  EXPECT_THAT(cores_of({0, 1, 4, 5}, folder.path()), ElementsAre(0, 1));
  EXPECT_THAT(cores_of({6, 7}, folder.path()), ElementsAre(2, 3));
  EXPECT_THAT(cores_of({0, 1, 2, 3, 4, 5, 6, 7}, folder.path()), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(cores_of({3, 9}, folder.path()), ElementsAre(3, 9));
}

TEST(Cores, TheAffinityMaskIsWhatThisProcessMayUse) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const std::vector<int> all = allowed_processors();
  ASSERT_THAT(all, SizeIs(Gt(0u)));
  EXPECT_EQ(static_cast<int>(all.size()), CPU_COUNT(&before));
  cpu_set_t last;
  CPU_ZERO(&last);
  CPU_SET(static_cast<std::size_t>(all.back()), &last);
  ASSERT_EQ(sched_setaffinity(0, sizeof last, &last), 0);
  EXPECT_THAT(allowed_processors(), ElementsAre(all.back()));
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(DistinctHosts, ANameThatBeginsLikeAnotherIsAHostOfItsOwn) {
  EXPECT_THAT(distinct_hosts({"node10", "node10", "node1", "node10", "node1", "node2"}),
              ElementsAre("node10", "node1", "node2"));
  EXPECT_THAT(distinct_hosts({""}), ElementsAre());
}

}  // namespace
}  // namespace plumb

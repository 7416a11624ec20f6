#include "core/parallel_for.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace plumb {
namespace {

class ParallelFor : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_thread_count(GetParam()); }
  void TearDown() override { set_thread_count(before_); }

 private:
  int before_ = thread_count();
};

TEST_P(ParallelFor, ChunksCoverTheRangeExactlyOnce) {
  for (std::int64_t n : {0, 1, 2, 3, 7, 64, 65, 1000})
    for (std::int64_t grain : {1, 3, 64, 2000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
      std::vector<std::atomic<int>> chunks(static_cast<std::size_t>(thread_count()));
      parallel_chunks(n, grain, [&](int thread, std::int64_t begin, std::int64_t end) {
        chunks[static_cast<std::size_t>(thread)]++;
        for (std::int64_t i = begin; i < end; ++i) visits[static_cast<std::size_t>(i)]++;
      });
      for (const auto& visit : visits) ASSERT_EQ(visit, 1) << n << " " << grain;
      for (const auto& chunk : chunks) ASSERT_LE(chunk, 1) << n << " " << grain;
      if (n > 0 && n <= grain) {
        ASSERT_EQ(chunks[0], 1);
      }
    }
}

TEST_P(ParallelFor, ChunksDependOnTheThreadCountAlone) {
  const auto split = [] {
    std::vector<std::pair<std::int64_t, std::int64_t>> chunks(static_cast<std::size_t>(thread_count()));
    parallel_chunks(1001, 1, [&](int thread, std::int64_t begin, std::int64_t end) {
      chunks[static_cast<std::size_t>(thread)] = {begin, end};
    });
    return chunks;
  };
  const auto first = split();
  for (int repeat = 0; repeat < 20; ++repeat) ASSERT_EQ(split(), first);
  for (std::size_t i = 1; i < first.size(); ++i) EXPECT_EQ(first[i].first, first[i - 1].second);
}

TEST_P(ParallelFor, VisitsEveryIndexOnceAlsoWhenNested) {
  std::vector<std::atomic<int>> visits(300);
  parallel_for(30, 1, [&](std::int64_t i) {
    parallel_for(10, 1, [&](std::int64_t j) { visits[static_cast<std::size_t>(10 * i + j)]++; });
  });
  for (const auto& visit : visits) ASSERT_EQ(visit, 1);
}

INSTANTIATE_TEST_SUITE_P(Threads, ParallelFor, testing::Values(1, 2, 3, 8));

TEST(Threads, AtLeastOne) {
  EXPECT_GE(thread_count(), 1);
  EXPECT_GE(available_cores(), 1);
  const int before = thread_count();
  set_thread_count(0);
  EXPECT_EQ(thread_count(), 1);
  set_thread_count(before);
}

}  // namespace
}  // namespace plumb

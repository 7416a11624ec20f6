// __syncthreads and its relatives against plain loops.
#include <numeric>

#include "device_test.h"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

class Barriers : public InEveryOrder {};
PLUMB_IN_EVERY_ORDER(Barriers);

TEST_P(Barriers, OrderWritesAndReads) {
  for (const unsigned threads : {1U, 2U, 33U, 64U, 1000U}) {
    const std::vector<float> x = small_numbers(threads);
    std::vector<float> y(threads);
    run(dim3(1), dim3(threads), 0, reverse_block, x.data(), y.data());
    EXPECT_EQ(y, std::vector<float>(x.rbegin(), x.rend()));
  }
}

TEST_P(Barriers, TreeSumOfManyBlocks) {
  const std::vector<float> x = small_numbers(20 * 256);
  std::vector<float> sums(20);
  run(dim3(20), dim3(256), 0, tree_sum, x.data(), sums.data());
  for (std::ptrdiff_t block = 0; block < 20; ++block) {
    const auto begin = x.begin() + block * 256;
    EXPECT_EQ(sums[static_cast<std::size_t>(block)], std::accumulate(begin, begin + 256, 0.0F));
  }
}

TEST_P(Barriers, VotesOfThreadsThatHaveNotEnded) {
  constexpr int kThreads = 75;
  const std::vector<std::vector<int>> patterns = {std::vector<int>(kThreads, 0),
                                                  std::vector<int>(kThreads, 2), [] {
                                                    std::vector<int> flags(kThreads, 0);
                                                    flags[3] = flags[40] = -1;
                                                    return flags;
                                                  }()};
  for (const std::vector<int>& flags : patterns) {
    for (const int live : {75, 41, 1}) {
      std::vector<int> results(3 * kThreads, -7);
      run(dim3(1), dim3(kThreads), 0, vote_of_block, flags.data(), live, results.data());
      int count = 0;
      for (int i = 0; i < live; ++i) count += flags[static_cast<std::size_t>(i)] != 0;
      for (int i = 0; i < kThreads; ++i) {
        const auto at = static_cast<std::size_t>(3 * i);
        const std::vector<int> expected =
            i < live ? std::vector<int>{count, count == live, count > 0} : std::vector<int>{-7, -7, -7};
        ASSERT_EQ((std::vector<int>{results[at], results[at + 1], results[at + 2]}), expected);
      }
    }
  }
}

}  // namespace
}  // namespace plumb::test

// What CUDA leaves undefined is reported, with the names of kernel, block, thread and place.
#include <gmock/gmock.h>

#include <cmath>

#include "device_test.h"
#include "grid.h"
#include "kernels/faults.h"

namespace plumb::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::StartsWith;

class Diagnostics : public InEveryOrder {
 protected:
  template <class... Parameters, class... Arguments>
  std::string report(void (*kernel)(Parameters...), Arguments... arguments) {
    return error_of([&] { run(dim3(2), dim3(64), 0, kernel, arguments...); });
  }
  std::vector<float4> x_ = std::vector<float4>(64, make_float4(1, 2, 3, 4)), y_ = x_;
  std::vector<float> results_ = std::vector<float>(128);
};
PLUMB_IN_EVERY_ORDER(Diagnostics);

TEST_P(Diagnostics, DivergentBarrier) {
  EXPECT_THAT(
      report(wait_in_two_branches),
      MatchesRegex("test_kernel: block \\(1,0,0\\), thread \\([0-9]+,0,0\\): divergent barrier: it waits in "
                   "__syncthreads \\(faults.cu:[0-9]+\\) while other threads wait in __syncthreads "
                   "\\(faults.cu:[0-9]+\\)"));
}

TEST_P(Diagnostics, WarpOperationThatLanesPassBy) {
  EXPECT_THAT(
      report(vote_in_one_branch),
      AllOf(HasSubstr("deadlock: 64 of 64 threads wait: 32 (the first is thread (1,0,0)) in __ballot_sync "
                      "(faults.cu:"),
            HasSubstr(") with mask 0xffffffff; 32 (the first is thread (0,0,0)) in __syncthreads "
                      "(faults.cu:")));
}

TEST_P(Diagnostics, WarpOperationAndBarrier) {
  EXPECT_THAT(report(wait_for_a_warp_that_votes),
              AnyOf(HasSubstr("deadlock: "), HasSubstr("divergent barrier: ")));
}

TEST_P(Diagnostics, ShuffleFromAnEndedLane) {
  EXPECT_THAT(report(shuffle_from_ended_lane, results_.data()),
              AllOf(HasSubstr(", thread (39,0,0): __shfl_down_sync (faults.cu:"),
                    HasSubstr("): lane 7 reads lane 8, which has ended")));
}

TEST_P(Diagnostics, ShuffleFromOutsideTheMask) {
  EXPECT_THAT(report(shuffle_from_outside_the_mask, results_.data()),
              HasSubstr("): lane 0 reads lane 16, which is not in the mask"));
}

TEST_P(Diagnostics, ShuffleByALaneOutsideTheMask) {
  EXPECT_THAT(report(shuffle_without_being_in_the_mask, results_.data()),
              HasSubstr("): the calling lane 5 is not in the mask 0xffffffdf"));
}

TEST_P(Diagnostics, ShuffleWithTwoMasks) {
  EXPECT_THAT(
      report(shuffle_with_two_masks, results_.data()),
      AllOf(HasSubstr("deadlock: "), HasSubstr("1 (the first is thread (5,0,0)) in __shfl_sync (faults.cu:"),
            HasSubstr("with mask 0x0000ffff"), HasSubstr("with mask 0xffffffff")));
}

TEST_P(Diagnostics, ShufflesAtTwoPlaces) {
  EXPECT_THAT(report(shuffle_in_two_branches, results_.data()),
              AllOf(HasSubstr("divergent warp operation: __shfl_sync (faults.cu:"),
                    HasSubstr("while other lanes wait in __shfl_sync (faults.cu:")));
}

TEST_P(Diagnostics, ShuffleOfOddWidth) {
  EXPECT_THAT(report(shuffle_of_odd_width, results_.data()),
              HasSubstr("the width is 12, no power of two up to 32"));
}

TEST_P(Diagnostics, MatrixProductWithoutTheWholeWarp) {
  EXPECT_THAT(report(product_of_half_a_warp, results_.data()),
              HasSubstr("in mma.sync.m16n8k16 (fp16) (faults.cu:"));
  EXPECT_THAT(report(product_after_an_end, results_.data()),
              AnyOf(HasSubstr("needs the whole warp, of which these lanes have ended: 0x00000020"),
                    HasSubstr("thread (5,0,0): ends while its warp waits for it in mma.sync")));
}

TEST_P(Diagnostics, AsynchronousCopiesWithoutWait) {
  const char* expected = "ends with asynchronous copies under way: no copy_async_wait after their commit";
  EXPECT_THAT(report(copy_without_wait, x_.data()), HasSubstr(expected));
  EXPECT_THAT(report(copy_without_commit, x_.data()), HasSubstr(expected));
  EXPECT_EQ(report(empty_groups_without_wait, x_.data(), y_.data()), "");
}

TEST_P(Diagnostics, AsynchronousCopyReadTooEarlyIsNan) {
  EXPECT_EQ(report(read_before_wait, x_.data(), y_.data()), "");
  for (const float4& one : y_) EXPECT_TRUE(std::isnan(one.x));
}

TEST_P(Diagnostics, AddressesOfAsynchronousCopies) {
  auto* numbers = reinterpret_cast<float*>(x_.data());
  EXPECT_THAT(report(copy_to_misaligned, numbers),
              AllOf(HasSubstr(", thread (5,0,0): cp.async (faults.cu:"),
                    HasSubstr("): the address in shared memory is misaligned")));
  EXPECT_THAT(report(copy_from_misaligned, numbers),
              HasSubstr("): the address in global memory is misaligned"));
  EXPECT_THAT(report(copy_to_global, x_.data(), y_.data()),
              HasSubstr("): the address is not in a shared variable"));
  EXPECT_THAT(report(copy_from_shared), HasSubstr("): the source is in shared memory"));
  EXPECT_THAT(
      report(load_matrix_from_global, x_.data()),
      AllOf(HasSubstr("ldmatrix.x4 (faults.cu:"), HasSubstr("): the address is not in a shared variable")));
}

TEST_P(Diagnostics, TheNextLaunchIsClean) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(report(wait_in_two_branches), "");
    EXPECT_NE(report(copy_without_wait, x_.data()), "");
    EXPECT_NE(report(shuffle_from_ended_lane, results_.data()), "");
    EXPECT_EQ(report(empty_groups_without_wait, x_.data(), y_.data()), "");
  }
}

TEST(LaunchConfiguration, Limits) {
  using emulation::refusal;
  const auto text = [](dim3 grid, dim3 block, std::size_t shared_bytes = 0) {
    return refusal({"k", grid, block, shared_bytes});
  };
  EXPECT_EQ(text(dim3(2147483647, 1, 1), dim3(1024)), "");
  EXPECT_EQ(text(dim3(1, 65535, 65535), dim3(1, 1024)), "");
  EXPECT_EQ(text(dim3(1), dim3(4, 4, 64), 227 * 1024), "");
  const char* block = "threads; at most (1024,1024,64) and 1024 in all";
  EXPECT_THAT(text(dim3(1), dim3(1025)), AllOf(StartsWith("k: a block of (1025,1,1)"), HasSubstr(block)));
  EXPECT_THAT(text(dim3(1), dim3(32, 33)), HasSubstr(block));
  EXPECT_THAT(text(dim3(1), dim3(1, 1, 65)), HasSubstr(block));
  EXPECT_THAT(text(dim3(1), dim3(0)), HasSubstr(block));
  EXPECT_THAT(text(dim3(1), dim3(65536, 65536, 1)), HasSubstr(block));  // 0 in 32 bits
  const char* grid = "blocks; from (1,1,1) to (2147483647,65535,65535)";
  EXPECT_THAT(text(dim3(0), dim3(1)), HasSubstr(grid));
  EXPECT_THAT(text(dim3(2147483648U), dim3(1)), HasSubstr(grid));
  EXPECT_THAT(text(dim3(1, 65536), dim3(1)), HasSubstr(grid));
  EXPECT_THAT(text(dim3(1, 1, 65536), dim3(1)), HasSubstr(grid));
  EXPECT_EQ(text(dim3(1), dim3(1), 227 * 1024 + 1),
            "k: 232449 bytes of dynamic shared memory; at most 232448");
}

TEST(LaunchConfiguration, ARefusedLaunchRunsNothing) {
  EXPECT_THAT(error_of([] { run(dim3(1), dim3(2000), 0, wait_in_two_branches); }),
              HasSubstr("test_kernel: a block of"));
  EXPECT_FALSE(emulation::run_grid({"k", dim3(0), dim3(1)}, [] { FAIL(); }));
  EXPECT_THAT(emulation::last_error(), HasSubstr("k: a grid of"));
  EXPECT_TRUE(emulation::run_grid({"k", dim3(1), dim3(1)}, [] {}));
  EXPECT_EQ(emulation::last_error(), "");
}

}  // namespace
}  // namespace plumb::test

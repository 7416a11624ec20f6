// Shuffles, votes and reductions of warps against plain loops. The loops follow the description of the PTX
// instructions shfl.sync, vote.sync, match.sync and redux.sync.
#include <algorithm>

#include "device_test.h"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

constexpr int kLanes = 32;

class Warps : public InEveryOrder {};
PLUMB_IN_EVERY_ORDER(Warps);

/// PTX ISA, shfl: the lane j that `lane` reads, or itself where j is beyond the segment's bound.
int source_lane(ShuffleKind kind, int lane, int b, int width) {
  const int segment_mask = kLanes - width;
  const int clamp = kind == ShuffleKind::Up ? 0 : 31;
  const int highest = (lane & segment_mask) | (clamp & ~segment_mask);
  const int lowest = lane & segment_mask;
  int source = lane;
  bool inside = true;
  switch (kind) {
    case ShuffleKind::Up:
      source = lane - b;
      inside = source >= highest;
      break;
    case ShuffleKind::Down:
      source = lane + b;
      inside = source <= highest;
      break;
    case ShuffleKind::Xor:
      source = lane ^ b;
      inside = source <= highest;
      break;
    case ShuffleKind::Index:
      source = lowest | (b & ~segment_mask);
      inside = source <= highest;
      break;
  }
  return inside ? source : lane;
}

template <class T>
void expect_shuffles(T (*value_of)(int)) {
  std::vector<T> x, y(kLanes);
  for (int i = 0; i < kLanes; ++i) x.push_back(value_of(i));
  for (const auto kind : {ShuffleKind::Index, ShuffleKind::Up, ShuffleKind::Down, ShuffleKind::Xor}) {
    for (const int width : {32, 16, 8, 2, 1}) {
      for (const int selector : {0, 1, 2, 5, 16, 31}) {
        run(dim3(1), dim3(kLanes), 0, shuffle_lanes<T>, kind, selector, width, x.data(), y.data());
        for (int lane = 0; lane < kLanes; ++lane) {
          const auto& expected = x[static_cast<std::size_t>(source_lane(kind, lane, selector, width))];
          ASSERT_EQ(std::memcmp(&y[static_cast<std::size_t>(lane)], &expected, sizeof(T)), 0)
              << static_cast<int>(kind) << " selector " << selector << " width " << width << " lane " << lane;
        }
      }
    }
  }
}

TEST_P(Warps, ShufflesOfEveryKindAndWidth) {
  expect_shuffles<int>([](int i) { return i * 1000003; });
  expect_shuffles<float>([](int i) { return static_cast<float>(i) + 0.5F; });
}

TEST_P(Warps, ShufflesOfOtherTypes) {
  expect_shuffles<double>([](int i) { return 1.0 / (i + 3); });
  expect_shuffles<long long>([](int i) { return i * 0x123456789abLL - 5; });
  expect_shuffles<__half>([](int i) { return __float2half(static_cast<float>(i)); });
  expect_shuffles<__nv_bfloat162>(
      [](int i) { return __floats2bfloat162_rn(static_cast<float>(i), static_cast<float>(-i)); });
}

TEST_P(Warps, ShufflesOfSomeLanes) {
  const std::vector<float> x = small_numbers(kLanes);
  for (const unsigned mask : {0xffffffffU, 0x0000ffffU, 0x80000001U, 0x00f0f000U, 0x00000004U}) {
    std::vector<int> members, sources(kLanes, -1);
    for (int lane = 0; lane < kLanes; ++lane)
      if ((mask >> lane & 1U) != 0) members.push_back(lane);
    for (std::size_t i = 0; i < members.size(); ++i)
      sources[static_cast<std::size_t>(members[i])] = members[(i + 1) % members.size()];
    std::vector<float> y(kLanes, -1000);
    run(dim3(1), dim3(kLanes), 0, shuffle_some_lanes, mask, sources.data(), x.data(), y.data());
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      EXPECT_EQ(y[lane], sources[lane] < 0 ? -1000 : x[static_cast<std::size_t>(sources[lane])]);
  }
}

TEST_P(Warps, Votes) {
  for (const unsigned flags : {0U, 0xffffffffU, 0x12345678U, 0x0000ff00U}) {
    for (const unsigned mask : {0xffffffffU, 0x0000ff00U, 0x00000001U}) {
      std::vector<int> x;
      for (int lane = 0; lane < kLanes; ++lane) x.push_back((flags >> lane & 1U) != 0 ? 3 : 0);
      std::vector<unsigned> results(5 * kLanes, 77);
      run(dim3(1), dim3(kLanes), 0, vote_of_warp, mask, x.data(), results.data());
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const unsigned* mine = &results[std::size_t{lane} * 5];
        const bool member = (mask >> lane & 1U) != 0;
        EXPECT_EQ(mine[0], member ? flags & mask : 77);
        EXPECT_EQ(mine[1], member ? (flags & mask) != 0 : 77U);
        EXPECT_EQ(mine[2], member ? (flags & mask) == mask : 77U);
        EXPECT_EQ(mine[3], member ? 77 : flags & ~mask);
        EXPECT_EQ(mine[4], (flags >> lane & 1U) != 0 ? flags : ~flags);
      }
    }
  }
}

TEST_P(Warps, Reductions) {
  std::vector<int> x;
  for (int i = 0; i < kLanes; ++i) x.push_back(static_cast<int>(static_cast<unsigned>(i * i) * 2654435761U));
  for (const unsigned mask : {0xffffffffU, 0x00ff00f0U, 0x00000100U}) {
    std::vector<std::uint32_t> results(9 * kLanes, 0), expected;
    run(dim3(1), dim3(kLanes), 0, reduce_lanes, mask, x.data(), results.data());
    std::vector<int> members;
    for (int lane = 0; lane < kLanes; ++lane)
      if ((mask >> lane & 1U) != 0) members.push_back(x[static_cast<std::size_t>(lane)]);
    std::uint32_t sum = 0, conjunction = 0xffffffffU, disjunction = 0, exclusive = 0;
    std::vector<std::uint32_t> bits(members.begin(), members.end());
    for (const std::uint32_t one : bits) {
      sum += one;
      conjunction &= one;
      disjunction |= one;
      exclusive ^= one;
    }
    expected = {sum,
                static_cast<std::uint32_t>(*std::min_element(members.begin(), members.end())),
                static_cast<std::uint32_t>(*std::max_element(members.begin(), members.end())),
                sum,
                *std::min_element(bits.begin(), bits.end()),
                *std::max_element(bits.begin(), bits.end()),
                conjunction,
                disjunction,
                exclusive};
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((mask >> lane & 1U) == 0) continue;
      const auto begin = results.begin() + lane * 9;
      EXPECT_EQ(std::vector<std::uint32_t>(begin, begin + 9), expected);
    }
  }
}

TEST_P(Warps, SyncwarpOrdersTheLanes) {
  const std::vector<float> x = small_numbers(kLanes);
  std::vector<float> y(kLanes);
  run(dim3(1), dim3(kLanes), 0, swap_neighbours, x.data(), y.data());
  for (std::size_t lane = 0; lane < kLanes; ++lane) EXPECT_EQ(y[lane], x[lane ^ 1]);
}

TEST_P(Warps, LanesThatHaveEndedAreNotWaitedFor) {
  for (const unsigned threads : {32U, 20U}) {  // 20: a warp that is not full
    for (const int live : {20, 7, 1}) {
      std::vector<unsigned> y(kLanes, 99);
      run(dim3(1), dim3(threads), 0, vote_of_remaining_lanes, live, y.data());
      for (int lane = 0; lane < kLanes; ++lane)
        EXPECT_EQ(y[static_cast<std::size_t>(lane)], lane < live ? static_cast<unsigned>(live) : 99U);
    }
  }
}

}  // namespace
}  // namespace plumb::test

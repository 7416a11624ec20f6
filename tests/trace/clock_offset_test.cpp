// Offsets of clocks that are known, from barriers whose delays are drawn.
#include "trace/clock_offset.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "comm/bootstrap.h"
#include "core/error.h"
#include "core/rng.h"

namespace plumb {
namespace {

struct Rank {
  std::vector<std::int64_t> entered, left;
  BarrierTimes times() const { return {entered, left}; }
};

/// Both ranks enter a barrier when they like and leave it some time after the later one has entered.
void pass_barriers(std::uint64_t seed, std::int64_t offset, double delay, Rank* first, Rank* own) {
  const RandomStream random{seed, 0, 1};
  std::uint64_t draws = 0;
  const auto draw = [&](double scale) {
    return static_cast<std::int64_t>(scale * static_cast<double>(random.word(draws++) % 1000) / 1000);
  };
  std::int64_t now = 1'000'000'000;
  for (int i = 0; i < 16; ++i) {
    const std::int64_t one = now + draw(1e6), other = now + draw(1e6), all = std::max(one, other);
    first->entered.push_back(one);
    first->left.push_back(all + draw(delay));
    own->entered.push_back(other + offset);
    own->left.push_back(all + draw(delay) + offset);
    now = all + static_cast<std::int64_t>(delay) + 1;
  }
}

TEST(ClockOffset, TheTrueOneLiesWithinTheError) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    for (const std::int64_t offset :
         {std::int64_t{0}, std::int64_t{-7'000'000'000}, std::int64_t{123'456'789}}) {
      Rank first, own;
      pass_barriers(seed, offset, 5e4, &first, &own);
      const ClockOffset found = clock_offset(own.times(), first.times());
      EXPECT_LE(std::abs(found.offset - offset), found.error) << "seed " << seed;
      EXPECT_LE(found.error, 600'000) << "no worse than one barrier";
    }
  }
}

// Exact: barriers that are left at once by whoever comes last.
TEST(ClockOffset, BarriersWithoutDelayAreExact) {
  Rank first{{100, 200}, {130, 200}}, own{{1130, 1150}, {1130, 1200}};
  const ClockOffset found = clock_offset(own.times(), first.times());
  EXPECT_EQ(found.offset, 1000);
  EXPECT_EQ(found.error, 0);
}

TEST(ClockOffset, AClockThatJumpsIsAnError) {
  Rank first{{100, 200}, {110, 210}}, own{{100, 5200}, {110, 5210}};
  EXPECT_THROW(clock_offset(own.times(), first.times()), Error);
}

TEST(ClockOffset, OfOneRankIsNone) {
  const auto communicator = make_communicator(Launch{});
  const ClockOffset found = measure_clock_offset(*communicator);
  EXPECT_EQ(found.offset, 0);
  EXPECT_EQ(found.error, 0);
  EXPECT_TRUE(found.same_clock);
  EXPECT_EQ(found.at, found.first_at);
  EXPECT_GT(found.at, 0);
}

}  // namespace
}  // namespace plumb

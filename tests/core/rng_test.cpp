#include "core/rng.h"

#include <gtest/gtest.h>

#include <cmath>

namespace plumb {
namespace {
using Words = std::array<std::uint32_t, 4>;

// The known-answer vectors that come with Random123 (kat_vectors, philox4x32-10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox(~std::uint64_t{0}, {ones, ones, ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // The words of the key: low half first.
  EXPECT_EQ(philox(0x299f31d0a4093822U, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, WordsComeFromBlocksOfFour) {
  const RandomStream stream{42, 3, 9};
  for (std::uint64_t i = 0; i < 20; ++i) EXPECT_EQ(stream.word(i), stream.block(i / 4)[i % 4]);
  EXPECT_EQ(stream.block(5), philox(42, {5, 0, 3, 9}));
  EXPECT_EQ(stream.block(0x300000007U), philox(42, {7, 3, 3, 9}));
}

TEST(RandomStream, SeedStepAndSiteNameDifferentStreams) {
  const RandomStream stream{42, 3, 9};
  EXPECT_NE(stream.block(0), (RandomStream{43, 3, 9}.block(0)));
  EXPECT_NE(stream.block(0), (RandomStream{42, 4, 9}.block(0)));
  EXPECT_NE(stream.block(0), (RandomStream{42, 3, 10}.block(0)));
}

TEST(RandomStream, UniformHasTheRightRangeAndMoments) {
  const RandomStream stream{1, 0, 0};
  const int count = 100000;
  double sum = 0, squares = 0;
  for (int i = 0; i < count; ++i) {
    const double u = stream.uniform(static_cast<std::uint64_t>(i));
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  // Five standard errors: sqrt(1/12/n), sqrt(4/45/n).
  EXPECT_NEAR(sum / count, 0.5, 5 * std::sqrt(1.0 / 12 / count));
  EXPECT_NEAR(squares / count, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / count));
}

TEST(RandomStream, NormalHasTheRightMoments) {
  const RandomStream stream{1, 0, 0};
  const int count = 100000;
  double sum = 0, squares = 0, fourth = 0;
  for (int i = 0; i < count; ++i) {
    const double x = stream.normal(static_cast<std::uint64_t>(i));
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  // Five standard errors: Var x = 1, Var x^2 = 2, Var x^4 = 96.
  EXPECT_NEAR(sum / count, 0, 5 * std::sqrt(1.0 / count));
  EXPECT_NEAR(squares / count, 1, 5 * std::sqrt(2.0 / count));
  EXPECT_NEAR(fourth / count, 3, 5 * std::sqrt(96.0 / count));
}

}  // namespace
}  // namespace plumb

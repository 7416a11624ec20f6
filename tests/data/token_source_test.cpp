#include "data/token_source.h"

#include <set>

#include "data_test_support.h"

namespace plumb {
namespace {
using ::testing::HasSubstr;
using Rows = std::vector<std::int32_t>;

TEST(TokenSource, GivesWindowsOfTheFile) {
  const TemporaryFolder folder;
  const TokenSource source(counting_file(folder, 1000), 1000, 16, 5);
  Rows inputs(16), targets(16);
  for (std::uint64_t sequence : {0U, 1U, 60U, 61U, 12345U}) {
    source.fill(sequence, inputs, targets);
    for (std::size_t t = 0; t < 16; ++t) {
      EXPECT_EQ(inputs[t], static_cast<std::int32_t>(source.window_start(sequence) + t));
      EXPECT_EQ(targets[t], inputs[t] + 1);
    }
  }
}

TEST(TokenSource, AnEpochReadsEveryWindowOnce) {
  const TemporaryFolder folder;
  const TokenSource source(counting_file(folder, 1000), 1000, 16, 5);
  // (1000 - 16) / 16: with any offset below 16 the last window still ends inside the file.
  ASSERT_EQ(source.windows(), 61U);
  for (std::uint64_t epoch = 0; epoch < 30; ++epoch) {
    std::set<std::uint64_t> starts;
    for (std::uint64_t i = 0; i < 61; ++i) starts.insert(source.window_start(epoch * 61 + i));
    ASSERT_EQ(starts.size(), 61U);
    EXPECT_LT(*starts.begin(), 16U);
    EXPECT_EQ(*starts.rbegin() - *starts.begin(), 60U * 16U);
    for (const std::uint64_t start : starts) EXPECT_EQ((start - *starts.begin()) % 16, 0U);
  }
}

TEST(TokenSource, EpochsAndSeedsDiffer) {
  const TemporaryFolder folder;
  const auto file = counting_file(folder, 1000);
  const auto epoch_order = [&](std::uint64_t seed, std::uint64_t epoch) {
    const TokenSource source(file, 1000, 16, seed);
    std::vector<std::uint64_t> order;
    for (std::uint64_t i = 0; i < 61; ++i) order.push_back(source.window_start(epoch * 61 + i) / 16);
    return order;
  };
  EXPECT_EQ(epoch_order(5, 0), epoch_order(5, 0));
  EXPECT_NE(epoch_order(5, 0), epoch_order(5, 1));
  EXPECT_NE(epoch_order(5, 0), epoch_order(6, 0));
  std::set<std::uint64_t> offsets;
  const TokenSource source(file, 1000, 16, 5);
  for (std::uint64_t epoch = 0; epoch < 200; ++epoch) offsets.insert(source.window_start(epoch * 61) % 16);
  EXPECT_EQ(offsets.size(), 16U);
}

TEST(TokenSource, OrderStaysAsItWas) {
  // A resumed run reads on where another build of the program left off. (Values from a separate calculation.)
  const TemporaryFolder folder;
  const TokenSource source(counting_file(folder, 1000), 1000, 16, 1);
  std::vector<std::uint64_t> starts;
  for (std::uint64_t i = 0; i < 4; ++i) starts.push_back(source.window_start(i));
  EXPECT_THAT(starts, ::testing::ElementsAre(618, 122, 458, 170));
}

TEST(TokenSource, TakesFilesOfOneWindow) {
  const TemporaryFolder folder;
  const auto file = counting_file(folder, 20);
  const TokenSource source(file, 20, 16, 5);
  EXPECT_EQ(source.windows(), 1U);
  std::set<std::uint64_t> starts;
  for (std::uint64_t i = 0; i < 100; ++i) starts.insert(source.window_start(i));
  EXPECT_THAT(starts, ::testing::ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(input_error([&] { TokenSource(file, 20, 20, 5); }),
              HasSubstr("has 20 tokens, a training sequence needs 21"));
}

TEST(TokenSource, RefusesTokensOutsideTheVocabulary) {
  const TemporaryFolder folder;
  const auto file = counting_file(folder, 100);
  Rows inputs(8), targets(8);
  const TokenSource source(file, 50, 8, 5);
  EXPECT_THAT(input_error([&] {
                for (std::uint64_t i = 0; i < source.windows(); ++i) source.fill(i, inputs, targets);
              }),
              HasSubstr("holds token 50 at position 50"));
  EXPECT_THAT(input_error([&] { TokenSource(file, 65537, 8, 5); }), HasSubstr("vocabulary of 65537"));
}

TEST(ValidationSource, EveryTokenButTheFirstIsATargetOnce) {
  const TemporaryFolder folder;
  // Exact fit, one over, one under, shorter than a window, the least.
  for (const std::size_t tokens : {49U, 50U, 48U, 17U, 10U, 2U}) {
    const ValidationSource source(counting_file(folder, tokens), 50, 16);
    EXPECT_EQ(source.sequences(), (tokens - 1 + 15) / 16);
    EXPECT_EQ(source.total_targets(), tokens - 1);
    std::vector<int> seen(tokens);
    Rows inputs(16), targets(16);
    for (std::uint64_t sequence = 0; sequence < source.sequences(); ++sequence) {
      source.fill(sequence, inputs, targets);
      for (std::size_t t = 0; t < 16; ++t) {
        if (targets[t] == kNoTarget) continue;
        ++seen[static_cast<std::size_t>(targets[t])];
        EXPECT_EQ(inputs[t] + 1, targets[t]);
        EXPECT_EQ(inputs[t], inputs[0] + static_cast<std::int32_t>(t));
      }
    }
    EXPECT_EQ(seen[0], 0);
    for (std::size_t token = 1; token < tokens; ++token)
      EXPECT_EQ(seen[token], 1) << token << " of " << tokens;
  }
}

TEST(ValidationSource, LastWindowKeepsItsContext) {
  const TemporaryFolder folder;
  const ValidationSource source(counting_file(folder, 50), 50, 16);
  Rows inputs(16), targets(16);
  source.fill(3, inputs, targets);  // one target is left, token 49
  EXPECT_EQ(inputs.front(), 33);
  EXPECT_EQ(inputs.back(), 48);
  EXPECT_EQ(targets[14], kNoTarget);
  EXPECT_EQ(targets[15], 49);
}

TEST(ValidationSource, IsEmptyBeyondItsEnd) {
  const TemporaryFolder folder;
  const ValidationSource source(counting_file(folder, 50), 50, 16);
  Rows inputs(16, 7), targets(16, 7);
  source.fill(4, inputs, targets);
  EXPECT_THAT(inputs, ::testing::Each(0));
  EXPECT_THAT(targets, ::testing::Each(kNoTarget));
}

}  // namespace
}  // namespace plumb

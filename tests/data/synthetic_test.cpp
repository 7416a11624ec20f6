#include "data/synthetic.h"

#include <cmath>
#include <set>

#include "data_test_support.h"

namespace plumb {
namespace {
using ::testing::HasSubstr;

struct Sequence {
  std::vector<std::int32_t> inputs, targets;
};

Sequence sequence_of(const SequenceSource& source, std::uint64_t index) {
  const auto length = static_cast<std::size_t>(source.sequence_length());
  Sequence result{std::vector<std::int32_t>(length, 12345), std::vector<std::int32_t>(length, 12345)};
  source.fill(index, result.inputs, result.targets);
  return result;
}

/// Everything that any source promises.
void check_contract(const SequenceSource& source) {
  std::set<std::vector<std::int32_t>> different;
  for (std::uint64_t index = 0; index < 50; ++index) {
    const auto [inputs, targets] = sequence_of(source, index);
    different.insert(inputs);
    EXPECT_EQ(sequence_of(source, index).inputs, inputs);
    for (const std::int32_t token : inputs) {
      EXPECT_GE(token, 0);
      EXPECT_LT(token, source.vocabulary());
    }
    std::int64_t count = 0;
    for (std::size_t t = 0; t < targets.size(); ++t) {
      if (targets[t] == kNoTarget) continue;
      ++count;
      EXPECT_GE(targets[t], 0);
      EXPECT_LT(targets[t], source.vocabulary());
      if (t + 1 < inputs.size()) {
        EXPECT_EQ(targets[t], inputs[t + 1]);
      }
    }
    EXPECT_EQ(count, source.targets_per_sequence());
  }
  EXPECT_GT(different.size(), 40U);
}

TEST(Synthetic, SourcesKeepTheContract) {
  for (const char* kind : {"markov", "copy", "induction"}) {
    for (const std::int64_t length : {31, 64}) {
      SCOPED_TRACE(kind);
      const auto source = make_synthetic_source({.kind = kind, .vocabulary = 20, .sequence_length = length});
      EXPECT_EQ(source->vocabulary(), 20);
      EXPECT_EQ(source->sequence_length(), length);
      ASSERT_TRUE(source->optimal_loss().has_value());
      check_contract(*source);
    }
  }
}

TEST(CopySource, TargetsAreTheCopiedHalf) {
  const CopySource source(10, 8, 1);
  for (std::uint64_t index = 0; index < 20; ++index) {
    const auto [inputs, targets] = sequence_of(source, index);
    EXPECT_EQ(inputs[4], 9);  // the separator
    for (std::size_t t = 0; t < 4; ++t) {
      EXPECT_LT(inputs[t], 9);
      EXPECT_EQ(targets[t], kNoTarget);
      EXPECT_EQ(targets[4 + t], inputs[t]);
      if (t < 3) {
        EXPECT_EQ(inputs[5 + t], inputs[t]);
      }
    }
  }
}

TEST(CopySource, OddLengthsEndWithoutTarget) {
  const auto [inputs, targets] = sequence_of(CopySource(10, 7, 1), 0);
  EXPECT_THAT(inputs,
              ::testing::ElementsAre(inputs[0], inputs[1], inputs[2], 9, inputs[0], inputs[1], inputs[2]));
  EXPECT_THAT(targets, ::testing::ElementsAre(-1, -1, -1, inputs[0], inputs[1], inputs[2], -1));
}

TEST(CopySource, TokensAreUniform) {
  const CopySource source(5, 64, 1);
  std::vector<int> counts(5);
  for (std::uint64_t index = 0; index < 250; ++index) {
    const auto [inputs, targets] = sequence_of(source, index);
    for (std::size_t t = 0; t < 32; ++t) ++counts[static_cast<std::size_t>(inputs[t])];
  }
  EXPECT_EQ(counts[4], 0);
  for (int token = 0; token < 4; ++token) EXPECT_NEAR(counts[static_cast<std::size_t>(token)], 2000, 5 * 39);
}

TEST(InductionSource, EveryTargetFollowsFromTheLastOccurrence) {
  const InductionSource source(30, 40, 1);
  EXPECT_EQ(source.longest_pattern(), 20);
  EXPECT_EQ(source.targets_per_sequence(), 20);
  std::set<std::size_t> periods;
  for (std::uint64_t index = 0; index < 100; ++index) {
    const auto [inputs, targets] = sequence_of(source, index);
    for (std::size_t t = 0; t < 40; ++t) {
      if (t < 20) {
        EXPECT_EQ(targets[t], kNoTarget);
        continue;
      }
      // An oracle that only looks back: find the token's last occurrence, answer what came next.
      std::size_t before = t;
      while (before > 0 && inputs[before - 1] != inputs[t]) --before;
      ASSERT_GT(before, 0U) << "input " << t << " occurs for the first time";
      EXPECT_EQ(targets[t], inputs[before]);
      periods.insert(t - before + 1);
    }
  }
  EXPECT_EQ(*periods.begin(), 10U);
  EXPECT_EQ(*periods.rbegin(), 20U);
  EXPECT_EQ(periods.size(), 11U);
}

TEST(InductionSource, SmallVocabulariesLimitThePattern) {
  const InductionSource source(6, 64, 1);
  EXPECT_EQ(source.longest_pattern(), 6);
  check_contract(source);
}

TEST(MarkovSource, OptimalLossIsThatOfTheTruth) {
  const auto language = std::make_shared<const MarkovLanguage>(MarkovLanguage::random(12, 1, 3));
  const MarkovSource source(language, 32, 1);
  double loss = 0;
  constexpr int kSequences = 4000;
  for (std::uint64_t index = 0; index < kSequences; ++index) {
    const auto [inputs, targets] = sequence_of(source, index);
    for (std::size_t t = 0; t < 32; ++t) {
      const auto row = language->transition_row(static_cast<std::size_t>(inputs[t]));
      loss -= std::log(row[static_cast<std::size_t>(targets[t])]);
    }
  }
  EXPECT_NEAR(loss / (32 * kSequences), *source.optimal_loss(), 0.02);
}

TEST(HeldOutSource, SharesNoSequenceWithTraining) {
  const std::shared_ptr<const SequenceSource> source =
      make_synthetic_source({.kind = "copy", .vocabulary = 50, .sequence_length = 32});
  const HeldOutSource held_out(source, 100);
  EXPECT_EQ(held_out.sequences(), 100U);
  EXPECT_EQ(held_out.total_targets(), 1600U);
  std::set<std::vector<std::int32_t>> seen;
  for (std::uint64_t index = 0; index < 100; ++index) {
    seen.insert(sequence_of(*source, index).inputs);
    seen.insert(sequence_of(held_out, index).inputs);
  }
  EXPECT_EQ(seen.size(), 200U);
  EXPECT_THAT(sequence_of(held_out, 100).targets, ::testing::Each(kNoTarget));
}

TEST(Synthetic, NamesWhatItCannotMake) {
  const auto message = [](SyntheticOptions options) {
    return input_error([&] { (void)make_synthetic_source(options); });
  };
  EXPECT_THAT(message({.kind = "sort"}), HasSubstr("'sort' (known: markov, copy, induction)"));
  EXPECT_THAT(message({.kind = "copy", .vocabulary = 2}), HasSubstr("copy task needs"));
  EXPECT_THAT(message({.kind = "induction", .sequence_length = 3}), HasSubstr("induction task needs"));
  EXPECT_THAT(message({.kind = "markov", .order = 3, .sequence_length = 2}), HasSubstr("too short"));
}

}  // namespace
}  // namespace plumb

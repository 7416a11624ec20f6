#include "data/markov_model.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "data/describe.h"
#include "data/tokenizer.h"
#include "data_test_support.h"

namespace plumb {
namespace {
using ::testing::HasSubstr;
using Tokens = std::vector<std::uint16_t>;

TEST(MarkovModel, AgreesWithHandComputation) {
  // "ababa" over the four letters a b c d. Order 0: 3 a, 2 b, 2 kinds. After a: b twice, 1 kind; after b: a
  // twice, 1 kind; after "ba": b once, 1 kind.
  const MarkovModel model(Tokens{0, 1, 0, 1, 0}, 4, 2);
  const double a0 = (3 + 2 * 0.25) / 7, b0 = (2 + 2 * 0.25) / 7, c0 = (0 + 2 * 0.25) / 7;
  const double b_after_a = (2 + b0) / 3, c_after_a = c0 / 3, b_after_b = b0 / 3;
  const double b_after_ba = (1 + b_after_a) / 2;
  const auto near = [](std::vector<double> values) {
    return ::testing::Pointwise(::testing::DoubleNear(1e-14), std::move(values));
  };
  EXPECT_THAT(model.probabilities(Tokens{}, 0), near({a0, a0, a0}));
  EXPECT_THAT(model.probabilities(Tokens{1, 0}, 1), near({b0, b_after_a, b_after_ba}));
  EXPECT_THAT(model.probabilities(Tokens{3, 3, 1, 0}, 1), near({b0, b_after_a, b_after_ba}));
  EXPECT_THAT(model.probabilities(Tokens{0, 0}, 2), near({c0, c_after_a, c_after_a}));  // "aa" was never seen
  EXPECT_THAT(model.probabilities(Tokens{2}, 2), near({c0, c0, c0}));                   // nor was "c"
  EXPECT_NEAR(b_after_ba, 25.0 / 28, 1e-15);

  const auto bits = model.bits_per_token(Tokens{0, 1, 1});
  EXPECT_NEAR(bits[0], -(std::log2(a0) + 2 * std::log2(b0)) / 3, 1e-14);
  EXPECT_NEAR(bits[1], -(std::log2(a0) + std::log2(b_after_a) + std::log2(b_after_b)) / 3, 1e-14);
}

TEST(MarkovModel, ProbabilitiesSumToOne) {
  const auto tokens = ByteTokenizer().encode("the cat sat on the mat; that is that");
  const MarkovModel model(tokens, 256, 5);
  for (const char* context : {"", "t", "th", "tha", " that", "the ca", "xyz", "zat"}) {
    std::array<double, 6> sums{};
    for (int next = 0; next < 256; ++next) {
      const auto p = model.probabilities(ByteTokenizer().encode(context), static_cast<std::uint16_t>(next));
      for (std::size_t k = 0; k < 6; ++k) sums[k] += p[k];
    }
    for (const double sum : sums) EXPECT_NEAR(sum, 1, 1e-12) << context;
  }
}

TEST(MarkovModel, KeysFitWideVocabularies) {
  EXPECT_EQ(MarkovModel::largest_order(256), 7);
  EXPECT_EQ(MarkovModel::largest_order(257), 6);
  EXPECT_EQ(MarkovModel::largest_order(65536), 3);
  // Order 3 over 16-bit tokens uses all 64 bits; the sequence is periodic, so context makes it certain.
  const Tokens cycle{65535, 0, 65534, 1, 65535, 2};
  Tokens tokens;
  for (int i = 0; i < 200; ++i) tokens.insert(tokens.end(), cycle.begin(), cycle.end());
  const auto bits = MarkovModel(tokens, 65536, 3).bits_per_token(tokens);
  EXPECT_GT(bits[1], 0.3);  // after 65535 comes 0 or 2
  EXPECT_LT(bits[3], 0.1);
  EXPECT_THROW(MarkovModel(tokens, 65536, 4), Error);
}

TEST(MarkovModel, RefusesForeignTokens) {
  EXPECT_THAT(input_error([] { MarkovModel(Tokens{0, 9}, 4, 1); }), HasSubstr("token 9 is outside"));
  const MarkovModel model(Tokens{0, 1}, 4, 1);
  EXPECT_THAT(input_error([&] { (void)model.bits_per_token(Tokens{4}); }), HasSubstr("token 4 is outside"));
}

TEST(Describe, CountsSplits) {
  const auto statistics = describe_split(Tokens{5, 5, 5, 5, 7, 7, 300, 9});
  EXPECT_EQ(statistics.tokens, 8U);
  EXPECT_EQ(statistics.distinct_tokens, 4);
  EXPECT_EQ(statistics.max_token, 300);
  EXPECT_NEAR(statistics.unigram_entropy, 1.75, 1e-14);  // 1/2, 1/4, 1/8, 1/8
  EXPECT_THAT(input_error([] { (void)describe_split({}); }), HasSubstr("without tokens"));
}

TEST(Describe, ChoosesVocabularyAndOrders) {
  const Tokens bytes{1, 2, 3, 255}, wide{1, 300};
  EXPECT_EQ(describe_tokens(bytes, bytes).vocabulary, 256);
  EXPECT_EQ(describe_tokens(bytes, wide).vocabulary, 301);
  const auto description = describe_tokens(bytes, bytes, 65536);
  EXPECT_EQ(description.markov.size(), 3U);
  EXPECT_EQ(description.markov[2].order, 3);
  EXPECT_THAT(input_error([&] { (void)describe_tokens(bytes, wide, 256); }), HasSubstr("token 300"));
}

/// The King James text of Debian's bible-kjv; empty where that is not installed.
std::string king_james() {
  std::FILE* pipe = ::popen("bible -f gen1:1-rev22:21 </dev/null 2>/dev/null", "r");
  if (pipe == nullptr) return {};
  std::string text(1 << 16, '\0'), result;
  while (const std::size_t bytes = std::fread(text.data(), 1, text.size(), pipe))
    result.append(text, 0, bytes);
  ::pclose(pipe);
  return result;
}

TEST(Describe, KingJamesHasItsKnownFigures) {
  const std::string text = king_james();
  if (text.size() != 4404412) GTEST_SKIP() << "no King James text here (Debian package bible-kjv)";
  const auto tokens = ByteTokenizer().encode(text);
  const std::span<const std::uint16_t> all(tokens);
  const std::size_t held_out = tokens.size() / 20;
  const auto description = describe_tokens(all.first(tokens.size() - held_out), all.last(held_out));
  EXPECT_EQ(description.train.distinct_tokens, 73);
  const std::vector<double> known{3.475, 2.87, 2.44, 2.22, 2.18};
  ASSERT_EQ(description.markov.size(), known.size());
  for (std::size_t i = 0; i < known.size(); ++i) {
    EXPECT_NEAR(description.markov[i].bits_per_token, known[i], 0.01) << "order " << i + 1;
  }
}

}  // namespace
}  // namespace plumb

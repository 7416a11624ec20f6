#include "data/markov_language.h"

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "data/markov_model.h"
#include "data/tokenizer.h"
#include "data_test_support.h"

namespace plumb {
namespace {
using ::testing::DoubleNear;
using ::testing::HasSubstr;

double binary_entropy(double p) { return -p * std::log(p) - (1 - p) * std::log(1 - p); }

TEST(MarkovLanguage, TwoStateChainHasItsClosedForm) {
  const double a = 0.1, b = 0.35;  // P(0 -> 1), P(1 -> 0)
  const MarkovLanguage language(2, 1, {1 - a, a, b, 1 - b});
  EXPECT_NEAR(language.stationary()[0], b / (a + b), 1e-12);
  EXPECT_NEAR(language.stationary()[1], a / (a + b), 1e-12);
  const double rate = (b * binary_entropy(a) + a * binary_entropy(b)) / (a + b);
  EXPECT_NEAR(language.entropy_rate(), rate, 1e-12);
  EXPECT_NEAR(language.entropy_rate_bits(), rate / std::numbers::ln2, 1e-12);
  EXPECT_NEAR(language.optimal_loss(1), rate, 1e-12);
  EXPECT_NEAR(language.optimal_loss(100), rate, 1e-12);
}

TEST(MarkovLanguage, OptimalLossCountsTheTargetsWithoutContext) {
  // x_t = x_{t-1} xor x_{t-2}, wrong with probability e: one symbol alone says nothing about the next one.
  const double e = 0.05;
  const MarkovLanguage language(2, 2, {1 - e, e, e, 1 - e, e, 1 - e, 1 - e, e});
  const double rate = binary_entropy(e);
  EXPECT_NEAR(language.entropy_rate(), rate, 1e-12);
  EXPECT_NEAR(language.optimal_loss(1), std::numbers::ln2, 1e-12);
  EXPECT_NEAR(language.optimal_loss(10), (std::numbers::ln2 + 9 * rate) / 10, 1e-12);
}

TEST(MarkovLanguage, ContextsHaveTheNewestSymbolLowest) {
  // After (old, new) = (0, 1), context 1, symbol 2 is nearly sure; after (1, 0), context 3, symbol 0.
  std::vector<double> transitions(27, 1.0 / 3);
  const auto set_row = [&](std::size_t context, std::array<double, 3> row) {
    std::copy(row.begin(), row.end(), transitions.begin() + static_cast<std::ptrdiff_t>(3 * context));
  };
  set_row(1, {0.01, 0.01, 0.98});
  set_row(3, {0.98, 0.01, 0.01});
  const MarkovLanguage language(3, 2, transitions);
  std::array<std::array<int, 3>, 9> counts{};
  std::vector<std::int32_t> path;
  language.sample_path(1, 0, 60000, [&](std::int32_t symbol) { path.push_back(symbol); });
  for (std::size_t t = 2; t < path.size(); ++t) {
    ++counts[static_cast<std::size_t>(3 * path[t - 2] + path[t - 1])][static_cast<std::size_t>(path[t])];
  }
  for (std::size_t context = 0; context < 9; ++context) {
    const double total = counts[context][0] + counts[context][1] + counts[context][2];
    ASSERT_GT(total, 1000);
    for (std::size_t s = 0; s < 3; ++s) {
      EXPECT_NEAR(counts[context][s] / total, transitions[3 * context + s], 0.05) << context << " " << s;
    }
  }
}

TEST(MarkovLanguage, PathsStartInTheStationaryDistribution) {
  const double a = 0.02, b = 0.05;
  const MarkovLanguage language(2, 1, {1 - a, a, b, 1 - b});
  int ones = 0;
  for (std::uint64_t path = 0; path < 20000; ++path) {
    language.sample_path(9, path, 1, [&](std::int32_t symbol) { ones += symbol; });
  }
  EXPECT_NEAR(ones / 20000.0, a / (a + b), 0.017);  // 5 standard deviations
}

TEST(MarkovLanguage, RandomLanguageHasTheEntropyOfItsSamples) {
  const auto language = MarkovLanguage::random(16, 2, 4);
  std::vector<std::uint16_t> path;
  language.sample_path(2, 0, 600000,
                       [&](std::int32_t symbol) { path.push_back(static_cast<std::uint16_t>(symbol)); });
  // Counting contexts of the right length converges to the entropy rate from above; shorter ones stay away.
  const std::span<const std::uint16_t> tokens(path);
  const auto bits = MarkovModel(tokens.first(500000), 16, 2).bits_per_token(tokens.subspan(500000));
  EXPECT_NEAR(bits[2], language.entropy_rate_bits(), 0.03);
  EXPECT_GT(bits[1], language.entropy_rate_bits() + 0.5);
}

TEST(MarkovLanguage, RandomLanguagesAreSeededAndErgodic) {
  const auto language = MarkovLanguage::random(32, 2, 1);
  EXPECT_EQ(language.contexts(), 1024U);
  double mass = 0;
  for (const double p : language.stationary()) {
    EXPECT_GT(p, 0);
    mass += p;
  }
  EXPECT_NEAR(mass, 1, 1e-12);
  EXPECT_GT(language.entropy_rate_bits(), 1);
  EXPECT_LT(language.entropy_rate_bits(), std::log2(6.0) + 0.25);
  EXPECT_EQ(language.entropy_rate(), MarkovLanguage::random(32, 2, 1).entropy_rate());
  EXPECT_NE(language.entropy_rate(), MarkovLanguage::random(32, 2, 2).entropy_rate());
}

TEST(MarkovLanguage, WritesText) {
  const auto language = MarkovLanguage::random(32, 2, 1);
  const std::string text = language.generate_text(5000, 3);
  ASSERT_EQ(text.size(), 5000U);
  EXPECT_EQ(text.find_first_not_of(" abcdefghijklmnopqrstuvwxyz.,;:'"), std::string::npos);
  EXPECT_NE(text.find(' '), std::string::npos);
  EXPECT_EQ(text.substr(0, 100), language.generate_text(100, 3));
  EXPECT_NE(text, language.generate_text(5000, 4));
  EXPECT_THAT(input_error([] { (void)MarkovLanguage::random(96, 1, 1).generate_text(10, 1); }),
              HasSubstr("printable ASCII has 95"));
}

TEST(MarkovLanguage, RefusesBadTables) {
  EXPECT_THAT(input_error([] { (void)MarkovLanguage::random(1, 2, 1); }), HasSubstr("at least 2 symbols"));
  EXPECT_THAT(input_error([] { (void)MarkovLanguage::random(32, 5, 1); }), HasSubstr("table of more than"));
  EXPECT_THROW(MarkovLanguage(2, 1, {0.5, 0.4, 0.5, 0.5}), Error);
  EXPECT_THROW(MarkovLanguage(2, 1, {1.5, -0.5, 0.5, 0.5}), Error);
}

}  // namespace
}  // namespace plumb

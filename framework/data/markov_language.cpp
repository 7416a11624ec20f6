#include "data/markov_language.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "data/permutation.h"
#include "data/random_sites.h"

namespace plumb {
namespace {
constexpr std::size_t kLargestTable = std::size_t{1} << 24;
constexpr double kSpreadShare = 0.02;
constexpr char kFirstSymbols[] = " abcdefghijklmnopqrstuvwxyz.,;:'";

/// V^k; throws when the table of V^(k+1) entries is too large to make.
std::size_t count_contexts(int symbols, int order) {
  if (symbols < 2 || order < 1) {
    fail_input("a Markov language needs at least 2 symbols and order 1, got {} and {}", symbols, order);
  }
  std::size_t contexts = 1;
  for (int k = 0; k < order; ++k) {
    contexts *= static_cast<std::size_t>(symbols);
    if (contexts * static_cast<std::size_t>(symbols) > kLargestTable) {
      fail_input(
          "a Markov language of order {} over {} symbols needs a table of more than {} entries; "
          "take fewer symbols or a lower order",
          order, symbols, kLargestTable);
    }
  }
  return contexts;
}

double to_unit(std::uint32_t high, std::uint32_t low) {
  return static_cast<double>((std::uint64_t{high} << 21) ^ (low >> 11)) * 0x1p-53;
}

double entropy(std::span<const double> probabilities) {
  double sum = 0;
  for (const double p : probabilities) sum -= p > 0 ? p * std::log(p) : 0;
  return sum;
}

/// The first entry whose cumulative weight exceeds `unit` (below 1) times the total.
std::size_t pick(std::span<const double> cumulative, double unit) {
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), unit * cumulative.back());
  return static_cast<std::size_t>(found - cumulative.begin());
}
}  // namespace

MarkovLanguage::MarkovLanguage(int symbols, int order, std::vector<double> transitions)
    : symbols_(symbols), order_(order), transitions_(std::move(transitions)) {
  const std::size_t contexts = count_contexts(symbols, order);
  const auto columns = static_cast<std::size_t>(symbols);
  PLUMB_CHECK(transitions_.size() == contexts * columns, "{} transition probabilities, {} x {} wanted",
              transitions_.size(), contexts, columns);
  stationary_.assign(contexts, 1.0 / static_cast<double>(contexts));
  cumulative_.resize(transitions_.size());
  for (std::size_t context = 0; context < contexts; ++context) {
    double sum = 0;
    for (std::size_t i = context * columns; i < (context + 1) * columns; ++i) {
      PLUMB_CHECK(transitions_[i] >= 0, "transition probability {} of context {}", transitions_[i], context);
      cumulative_[i] = sum += transitions_[i];
    }
    PLUMB_CHECK(std::abs(sum - 1) < 1e-12, "transition probabilities of context {} sum to {}", context, sum);
  }
  find_stationary();
  find_entropies();
}

MarkovLanguage MarkovLanguage::random(int symbols, int order, std::uint64_t language_seed, int successors) {
  PLUMB_CHECK(successors >= 1, "{} successors", successors);
  const auto columns = static_cast<std::size_t>(symbols);
  const std::size_t contexts = count_contexts(symbols, order);
  std::vector<double> transitions(contexts * columns);
  const RandomStream stream{language_seed, 0, kMarkovTableSite};
  for (std::size_t context = 0; context < contexts; ++context) {
    const std::span row(&transitions[context * columns], columns);
    double sum = 0;
    for (int i = 0; i < successors; ++i) {
      const auto words =
          stream.block(context * static_cast<std::size_t>(successors) + static_cast<std::size_t>(i));
      const double weight = -std::log1p(-to_unit(words[0], words[1]));
      row[uniform_below(columns, words[2], words[3])] += weight;
      sum += weight;
    }
    for (double& p : row) p = (1 - kSpreadShare) * p / sum + kSpreadShare / static_cast<double>(symbols);
  }
  return {symbols, order, std::move(transitions)};
}

std::span<const double> MarkovLanguage::transition_row(std::size_t context) const {
  const auto columns = static_cast<std::size_t>(symbols_);
  return std::span(transitions_).subspan(context * columns, columns);
}

void MarkovLanguage::find_stationary() {
  // Power iteration on contexts: the change shrinks geometrically for an ergodic chain, down to rounding.
  std::vector<double> next(contexts());
  for (int iteration = 0; iteration < 10000; ++iteration) {
    std::fill(next.begin(), next.end(), 0.0);
    for (std::size_t context = 0; context < contexts(); ++context) {
      const auto row = transition_row(context);
      for (int s = 0; s < symbols_; ++s) {
        next[next_context(context, s)] += stationary_[context] * row[static_cast<std::size_t>(s)];
      }
    }
    double change = 0;
    for (std::size_t context = 0; context < contexts(); ++context) {
      change += std::abs(next[context] - stationary_[context]);
    }
    std::swap(next, stationary_);
    if (change < 1e-14) return;
  }
  fail(
      "the stationary distribution of a Markov language of order {} over {} symbols does not converge: "
      "the chain is periodic or nearly so",
      order_, symbols_);
}

void MarkovLanguage::find_entropies() {
  double sum = 0;
  stationary_cumulative_.reserve(contexts());
  // The oldest symbol is the highest digit of a context.
  std::vector<double> oldest(static_cast<std::size_t>(symbols_));
  const std::size_t highest_digit = contexts() / oldest.size();
  for (std::size_t context = 0; context < contexts(); ++context) {
    stationary_cumulative_.push_back(sum += stationary_[context]);
    entropy_rate_ += stationary_[context] * entropy(transition_row(context));
    oldest[context / highest_digit] += stationary_[context];
  }
  first_block_entropy_ = entropy(stationary_) - entropy(oldest);
}

double MarkovLanguage::entropy_rate_bits() const { return entropy_rate_ / std::numbers::ln2; }

double MarkovLanguage::optimal_loss(std::int64_t sequence_length) const {
  PLUMB_CHECK(sequence_length >= 1 && sequence_length + 1 >= order_, "{} targets in a language of order {}",
              sequence_length, order_);
  return (first_block_entropy_ + static_cast<double>(sequence_length + 1 - order_) * entropy_rate_) /
         static_cast<double>(sequence_length);
}

std::size_t MarkovLanguage::draw_context(std::uint64_t seed, std::uint64_t path) const {
  const auto words = RandomStream{seed, 0, kMarkovPathSite}.block(path);
  return pick(stationary_cumulative_, to_unit(words[0], words[1]));
}

std::int32_t MarkovLanguage::draw_symbol(std::uint64_t seed, std::uint64_t path, std::uint64_t position,
                                         std::size_t context) const {
  const auto words = RandomStream{seed, static_cast<std::uint32_t>(position), kMarkovPathSite}.block(path);
  const auto columns = static_cast<std::size_t>(symbols_);
  const auto row = std::span(cumulative_).subspan(context * columns, columns);
  return static_cast<std::int32_t>(pick(row, to_unit(words[0], words[1])));
}

std::string MarkovLanguage::generate_text(std::uint64_t bytes, std::uint64_t seed) const {
  std::string alphabet = kFirstSymbols;
  for (char printable = '!'; printable <= '~'; ++printable) {
    if (alphabet.find(printable) == std::string::npos) alphabet += printable;
  }
  if (static_cast<std::size_t>(symbols_) > alphabet.size()) {
    fail_input("a Markov language of {} symbols cannot be written as text: printable ASCII has {}", symbols_,
               alphabet.size());
  }
  PLUMB_CHECK(bytes <= std::uint64_t{1} << 32, "a text of {} bytes; one path has at most 2^32", bytes);
  std::string text;
  text.reserve(bytes);
  sample_path(seed, 0, bytes,
              [&](std::int32_t symbol) { text += alphabet[static_cast<std::size_t>(symbol)]; });
  return text;
}

}  // namespace plumb

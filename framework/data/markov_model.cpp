#include "data/markov_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {
int bits_of(int vocabulary) {
  return std::max(1, static_cast<int>(std::bit_width(static_cast<unsigned>(vocabulary - 1))));
}
}  // namespace

int MarkovModel::largest_order(int vocabulary) { return 64 / bits_of(vocabulary) - 1; }

MarkovModel::MarkovModel(std::span<const std::uint16_t> training, int vocabulary, int order)
    : vocabulary_(vocabulary), order_(order), token_bits_(bits_of(vocabulary)) {
  PLUMB_CHECK(vocabulary >= 1 && vocabulary <= 65536, "a vocabulary of {}", vocabulary);
  PLUMB_CHECK(order >= 0 && order <= largest_order(vocabulary), "a Markov model of order {} over {} tokens",
              order, vocabulary);
  counts_.resize(static_cast<std::size_t>(order) + 1);
  for (const std::uint16_t token : training) check(token);
  // Order by order: one order's tables stay in cache.
  for (int k = 0; k <= order; ++k) {
    Counts& counts = counts_[static_cast<std::size_t>(k)];
    std::uint64_t history = 0;
    for (std::size_t i = 0; i < training.size(); ++i) {
      const std::uint64_t key = (last_tokens(history, k) << token_bits_) | training[i];
      if (i >= static_cast<std::size_t>(k)) {
        Context& context = counts.contexts[last_tokens(history, k)];
        ++context.total;
        if (counts.successors[key]++ == 0) ++context.distinct;
      }
      history = (history << token_bits_) | training[i];
    }
  }
}

void MarkovModel::check(std::uint16_t token) const {
  if (token >= vocabulary_) {
    fail_input("token {} is outside the vocabulary of {} tokens (0 to {})", token, vocabulary_,
               vocabulary_ - 1);
  }
}

std::uint64_t MarkovModel::last_tokens(std::uint64_t history, int k) const {
  return history & ((std::uint64_t{1} << (k * token_bits_)) - 1);
}

void MarkovModel::interpolate(std::uint64_t history, std::size_t available, std::uint16_t next,
                              std::span<double> p) const {
  double lower = 1.0 / vocabulary_;
  for (int k = 0; k <= order_; ++k) {
    const Counts& counts = counts_[static_cast<std::size_t>(k)];
    const std::uint64_t h = last_tokens(history, k);
    const auto context = counts.contexts.find(h);
    // A longer context contains this one: unseen here is unseen in all higher orders too.
    if (static_cast<std::size_t>(k) > available || context == counts.contexts.end()) {
      std::fill(p.begin() + k, p.end(), lower);
      return;
    }
    const auto successor = counts.successors.find((h << token_bits_) | next);
    const double count = successor == counts.successors.end() ? 0 : static_cast<double>(successor->second);
    const double distinct = context->second.distinct;
    lower = (count + distinct * lower) / (static_cast<double>(context->second.total) + distinct);
    p[static_cast<std::size_t>(k)] = lower;
  }
}

std::vector<double> MarkovModel::probabilities(std::span<const std::uint16_t> context,
                                               std::uint16_t next) const {
  check(next);
  std::uint64_t history = 0;
  for (const std::uint16_t token : context) {
    check(token);
    history = (history << token_bits_) | token;
  }
  std::vector<double> p(counts_.size());
  interpolate(history, context.size(), next, p);
  return p;
}

std::vector<double> MarkovModel::bits_per_token(std::span<const std::uint16_t> tokens) const {
  PLUMB_CHECK(!tokens.empty(), "bits per token of no tokens");
  std::vector<double> sums(counts_.size()), p(counts_.size());
  std::uint64_t history = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    check(tokens[i]);
    interpolate(history, i, tokens[i], p);
    for (std::size_t k = 0; k < p.size(); ++k) sums[k] -= std::log2(p[k]);
    history = (history << token_bits_) | tokens[i];
  }
  for (double& sum : sums) sum /= static_cast<double>(tokens.size());
  return sums;
}

}  // namespace plumb

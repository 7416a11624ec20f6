#include "data/describe.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/markov_model.h"

namespace plumb {
namespace {
constexpr int kHighestOrder = 5;
}  // namespace

SplitStatistics describe_split(std::span<const std::uint16_t> tokens) {
  if (tokens.empty()) fail_input("a split without tokens cannot be described");
  std::vector<std::uint64_t> counts(65536);
  for (const std::uint16_t token : tokens) ++counts[token];
  SplitStatistics statistics;
  statistics.tokens = tokens.size();
  for (std::size_t token = 0; token < counts.size(); ++token) {
    if (counts[token] == 0) continue;
    ++statistics.distinct_tokens;
    statistics.max_token = static_cast<std::uint16_t>(token);
    const double frequency = static_cast<double>(counts[token]) / static_cast<double>(tokens.size());
    statistics.unigram_entropy -= frequency * std::log2(frequency);
  }
  return statistics;
}

DataDescription describe_tokens(std::span<const std::uint16_t> train,
                                std::span<const std::uint16_t> validation, int vocabulary) {
  DataDescription description;
  description.train = describe_split(train);
  description.validation = describe_split(validation);
  const int largest = std::max(description.train.max_token, description.validation.max_token);
  description.vocabulary = vocabulary > 0 ? vocabulary : std::max(256, largest + 1);
  if (largest >= description.vocabulary) {
    fail_input("the splits hold token {}, but the vocabulary has {} tokens", largest, description.vocabulary);
  }
  const int order = std::min(kHighestOrder, MarkovModel::largest_order(description.vocabulary));
  const auto bits = MarkovModel(train, description.vocabulary, order).bits_per_token(validation);
  for (int k = 1; k <= order; ++k) description.markov.push_back({k, bits[static_cast<std::size_t>(k)]});
  return description;
}

}  // namespace plumb

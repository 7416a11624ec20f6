#include "data/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "data/permutation.h"
#include "data/random_sites.h"

namespace plumb {
namespace {
constexpr std::uint64_t kFirstHeldOut = std::uint64_t{1} << 63;

/// Writes token t of a sequence of T+1 tokens where it belongs: input t and target t-1.
void place(std::int64_t t, std::int32_t token, std::span<std::int32_t> inputs,
           std::span<std::int32_t> targets) {
  const auto i = static_cast<std::size_t>(t);
  if (i < inputs.size()) inputs[i] = token;
  if (i > 0) targets[i - 1] = token;
}

void remove_targets(std::span<std::int32_t> targets) { std::fill(targets.begin(), targets.end(), kNoTarget); }
}  // namespace

MarkovSource::MarkovSource(std::shared_ptr<const MarkovLanguage> language, std::int64_t sequence_length,
                           std::uint64_t seed)
    : language_(std::move(language)), sequence_length_(sequence_length), seed_(seed) {
  if (sequence_length < language_->order()) {
    fail_input("sequences of {} tokens are too short for a Markov language of order {}", sequence_length,
               language_->order());
  }
}

std::string MarkovSource::name() const {
  return fmt::format("markov language, order {}, {} symbols", language_->order(), language_->symbols());
}

void MarkovSource::fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
                        std::span<std::int32_t> targets) const {
  std::int64_t t = 0;
  language_->sample_path(seed_, sequence, inputs.size() + 1,
                         [&](std::int32_t symbol) { place(t++, symbol, inputs, targets); });
}

CopySource::CopySource(int vocabulary, std::int64_t sequence_length, std::uint64_t seed)
    : vocabulary_(vocabulary), sequence_length_(sequence_length), seed_(seed) {
  if (vocabulary < 3 || sequence_length < 2) {
    fail_input(
        "the copy task needs a vocabulary of at least 3 and sequences of at least 2 tokens, got {} and {}",
        vocabulary, sequence_length);
  }
}

void CopySource::fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
                      std::span<std::int32_t> targets) const {
  const std::int64_t half = sequence_length_ / 2;
  const std::int32_t separator = vocabulary_ - 1;
  place(half, separator, inputs, targets);
  for (std::int64_t t = 0; t < half; ++t) {
    const auto words = RandomStream{seed_, static_cast<std::uint32_t>(t), kCopySite}.block(sequence);
    const auto token =
        static_cast<std::int32_t>(uniform_below(static_cast<std::uint64_t>(separator), words[0], words[1]));
    place(t, token, inputs, targets);
    place(half + 1 + t, token, inputs, targets);
  }
  remove_targets(targets.first(static_cast<std::size_t>(half)));
  remove_targets(targets.subspan(static_cast<std::size_t>(2 * half)));
}

InductionSource::InductionSource(int vocabulary, std::int64_t sequence_length, std::uint64_t seed)
    : vocabulary_(vocabulary), sequence_length_(sequence_length), seed_(seed) {
  if (vocabulary < 2 || sequence_length < 4) {
    fail_input(
        "the induction task needs a vocabulary of at least 2 and sequences of at least 4 tokens, got {} and "
        "{}",
        vocabulary, sequence_length);
  }
}

std::int64_t InductionSource::longest_pattern() const {
  return std::min<std::int64_t>(vocabulary_, sequence_length_ / 2);
}

void InductionSource::fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
                           std::span<std::int32_t> targets) const {
  const std::int64_t longest = longest_pattern();
  const std::int64_t shortest = (longest + 1) / 2;
  const auto words = RandomStream{seed_, 0, kInductionSite}.block(sequence);
  const std::int64_t period =
      shortest + static_cast<std::int64_t>(
                     uniform_below(static_cast<std::uint64_t>(longest - shortest + 1), words[0], words[1]));
  // A permutation of the vocabulary gives distinct tokens without a table.
  const std::uint64_t key = (std::uint64_t{words[2]} << 32) | words[3];
  const KeyedPermutation token_of(static_cast<std::uint64_t>(vocabulary_), {key, 0, kInductionOrderSite});
  for (std::int64_t t = 0; t <= sequence_length_; ++t) {
    place(t, static_cast<std::int32_t>(token_of(static_cast<std::uint64_t>(t % period))), inputs, targets);
  }
  remove_targets(targets.first(static_cast<std::size_t>(longest)));
}

HeldOutSource::HeldOutSource(std::shared_ptr<const SequenceSource> source, std::uint64_t sequences)
    : source_(std::move(source)), sequences_(sequences) {
  PLUMB_CHECK(sequences >= 1, "a held-out source of no sequences");
}

void HeldOutSource::fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
                         std::span<std::int32_t> targets) const {
  if (sequence < sequences_) {
    source_->fill(kFirstHeldOut + sequence, inputs, targets);
    return;
  }
  std::fill(inputs.begin(), inputs.end(), 0);
  remove_targets(targets);
}

std::unique_ptr<SequenceSource> make_synthetic_source(const SyntheticOptions& options) {
  const auto& [kind, vocabulary, order, sequence_length, seed, language_seed] = options;
  if (kind == "markov") {
    auto language =
        std::make_shared<const MarkovLanguage>(MarkovLanguage::random(vocabulary, order, language_seed));
    return std::make_unique<MarkovSource>(std::move(language), sequence_length, seed);
  }
  if (kind == "copy") return std::make_unique<CopySource>(vocabulary, sequence_length, seed);
  if (kind == "induction") return std::make_unique<InductionSource>(vocabulary, sequence_length, seed);
  fail_input("unknown synthetic source '{}' (known: markov, copy, induction)", kind);
}

}  // namespace plumb

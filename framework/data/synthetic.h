// Synthetic training data with known optimal loss.
#pragma once

#include <memory>
#include <string>

#include "core/error.h"
#include "data/markov_language.h"
#include "data/sequence_source.h"

namespace plumb {

/// Every sequence is a path of its own through the language, begun in its stationary distribution. Optimal
/// loss: MarkovLanguage::optimal_loss(T), which tends to the entropy rate as T grows.
class MarkovSource final : public SequenceSource {
 public:
  MarkovSource(std::shared_ptr<const MarkovLanguage> language, std::int64_t sequence_length,
               std::uint64_t seed);
  std::string name() const override;
  int vocabulary() const override { return language_->symbols(); }
  std::int64_t sequence_length() const override { return sequence_length_; }
  std::int64_t targets_per_sequence() const override { return sequence_length_; }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override;
  std::optional<double> optimal_loss() const override { return language_->optimal_loss(sequence_length_); }

 private:
  std::shared_ptr<const MarkovLanguage> language_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
};

/// Copy: P = floor(T/2) uniform random tokens below V-1, the separator V-1, the same tokens again; T inputs
/// of these 2P+1 tokens, the P targets are the copied half. (Odd T: the last input has no target.) Optimal
/// loss 0; ln(V-1) without looking back.
class CopySource final : public SequenceSource {
 public:
  /// Throws InputError unless V >= 3 and T >= 2.
  CopySource(int vocabulary, std::int64_t sequence_length, std::uint64_t seed);
  std::string name() const override { return "copy"; }
  int vocabulary() const override { return vocabulary_; }
  std::int64_t sequence_length() const override { return sequence_length_; }
  std::int64_t targets_per_sequence() const override { return sequence_length_ / 2; }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override;
  std::optional<double> optimal_loss() const override { return 0.0; }

 private:
  int vocabulary_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
};

/// Induction: a random pattern of p distinct tokens, repeated over the sequence; p is uniform in
/// [ceil(M/2), M] with M = longest_pattern() = min(V, floor(T/2)), so the period itself tells nothing. From
/// position M on, each input occurred before, and what followed it then follows now: those T-M positions are
/// the targets. Optimal loss 0; about ln V without looking back.
class InductionSource final : public SequenceSource {
 public:
  /// Throws InputError unless V >= 2 and T >= 4.
  InductionSource(int vocabulary, std::int64_t sequence_length, std::uint64_t seed);
  std::string name() const override { return "induction"; }
  int vocabulary() const override { return vocabulary_; }
  std::int64_t sequence_length() const override { return sequence_length_; }
  std::int64_t longest_pattern() const;
  std::int64_t targets_per_sequence() const override { return sequence_length_ - longest_pattern(); }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override;
  std::optional<double> optimal_loss() const override { return 0.0; }

 private:
  int vocabulary_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
};

/// Validation for an endless source: the `sequences` sequences from index 2^63 on, which no training run
/// reaches.
class HeldOutSource final : public FiniteSource {
 public:
  HeldOutSource(std::shared_ptr<const SequenceSource> source, std::uint64_t sequences);
  std::string name() const override { return source_->name() + ", held out"; }
  int vocabulary() const override { return source_->vocabulary(); }
  std::int64_t sequence_length() const override { return source_->sequence_length(); }
  std::int64_t targets_per_sequence() const override { return source_->targets_per_sequence(); }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override;
  std::optional<double> optimal_loss() const override { return source_->optimal_loss(); }
  std::uint64_t sequences() const override { return sequences_; }
  std::uint64_t total_targets() const override {
    return sequences_ * static_cast<std::uint64_t>(targets_per_sequence());
  }

 private:
  std::shared_ptr<const SequenceSource> source_;
  std::uint64_t sequences_;
};

struct SyntheticOptions {
  std::string kind = "markov";  ///< markov | copy | induction
  int vocabulary = 32;
  int order = 2;  ///< markov only
  std::int64_t sequence_length = 128;
  std::uint64_t seed = 1;           ///< of the sequences
  std::uint64_t language_seed = 1;  ///< of the language: runs of several seeds learn the same one
};
/// Throws InputError: an unknown kind (lists the known ones), sizes that the kind cannot take.
std::unique_ptr<SequenceSource> make_synthetic_source(const SyntheticOptions& options);

}  // namespace plumb

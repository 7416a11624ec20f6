// Sequences from a token file: in shuffled windows for training, in order for validation.
#pragma once

#include <memory>

#include "core/error.h"
#include "data/sequence_source.h"
#include "data/token_file.h"

namespace plumb {

/// The training order. An epoch has n = windows() windows of T+1 tokens with stride T (a target is the next
/// window's first input, so no target is seen twice in an epoch), shifted as a whole by an offset drawn per
/// epoch, so that window boundaries vary. Sequence i is window P_e(i mod n) of epoch e = i / n; P_e is a
/// permutation keyed by (seed, e).
class TokenSource final : public SequenceSource {
 public:
  /// Throws InputError when the file has fewer than T+1 tokens, or vocabulary is not in 1 .. 65536. Tokens
  /// are checked against the vocabulary as they are read (see also TokenFile::check_vocabulary).
  TokenSource(std::shared_ptr<const TokenFile> file, int vocabulary, std::int64_t sequence_length,
              std::uint64_t seed);

  std::string name() const override { return file_->path().string(); }
  int vocabulary() const override { return vocabulary_; }
  std::int64_t sequence_length() const override { return sequence_length_; }
  std::int64_t targets_per_sequence() const override { return sequence_length_; }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override;

  /// n: sequences of one epoch.
  std::uint64_t windows() const { return windows_; }
  /// Position in the file of a sequence's first input.
  std::uint64_t window_start(std::uint64_t sequence) const;

 private:
  std::shared_ptr<const TokenFile> file_;
  int vocabulary_;
  std::int64_t sequence_length_;
  std::uint64_t seed_;
  std::uint64_t windows_ = 0;
  std::uint64_t offsets_ = 0;  ///< offsets of an epoch are drawn from [0, offsets_)
};

/// The whole split in order: every token but the first is a target exactly once. The windows are those of
/// stride T; the last one is shifted back to end with the file, and what it repeats has no target (a file
/// shorter than T+1 tokens is one sequence, filled up with inputs 0 and no targets).
class ValidationSource final : public FiniteSource {
 public:
  /// Throws InputError when the file has fewer than 2 tokens, or vocabulary is not in 1 .. 65536.
  ValidationSource(std::shared_ptr<const TokenFile> file, int vocabulary, std::int64_t sequence_length);

  std::string name() const override { return file_->path().string(); }
  int vocabulary() const override { return vocabulary_; }
  std::int64_t sequence_length() const override { return sequence_length_; }
  std::int64_t targets_per_sequence() const override { return sequence_length_; }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override;
  std::uint64_t sequences() const override { return sequences_; }
  std::uint64_t total_targets() const override { return file_->tokens().size() - 1; }

 private:
  std::shared_ptr<const TokenFile> file_;
  int vocabulary_;
  std::int64_t sequence_length_;
  std::uint64_t sequences_ = 0;
};

}  // namespace plumb

// What training and validation read: numbered sequences of (T) input and (T) target tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace plumb {

/// A position with this target is not part of the loss.
inline constexpr std::int32_t kNoTarget = -1;

/// Sequence i is a pure function of the source's construction arguments and i: not of rank, world or of what
/// was read before. fill() is const, does not allocate and may be called from several threads.
class SequenceSource {
 public:
  virtual ~SequenceSource() = default;
  virtual std::string name() const = 0;
  /// Tokens are 0 .. vocabulary() - 1.
  virtual int vocabulary() const = 0;
  /// T: inputs and targets of one sequence.
  virtual std::int64_t sequence_length() const = 0;
  /// Targets other than kNoTarget in every sequence; the loss of a step is weighted by it. Finite sources
  /// (below): the most that any sequence has.
  virtual std::int64_t targets_per_sequence() const = 0;
  /// Both spans have sequence_length() elements; targets[t] is what follows inputs[0..t].
  virtual void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
                    std::span<std::int32_t> targets) const = 0;
  /// The least mean loss per target that any model can expect, in nats, where it is known.
  virtual std::optional<double> optimal_loss() const { return std::nullopt; }
};

/// A source that ends: what validation runs over, once through. fill() beyond the end gives inputs 0 and no
/// targets, so that every rank can run the same number of full batches.
class FiniteSource : public SequenceSource {
 public:
  virtual std::uint64_t sequences() const = 0;
  /// Targets of all sequences together: what the summed loss is divided by.
  virtual std::uint64_t total_targets() const = 0;
};

}  // namespace plumb

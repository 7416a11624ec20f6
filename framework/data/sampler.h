// Which sequences of the data order a rank reads at a training step.
#pragma once

#include <cstdint>
#include <vector>

#include "data/sequence_source.h"

namespace plumb {

/// (b,T) inputs and targets, row after row: row j is sequence first_sequence + j of the source.
struct Batch {
  std::vector<std::int32_t> inputs, targets;
  std::uint64_t first_sequence = 0;
};

/// Fills a batch with `rows` sequences from `first_sequence` on. The batch's vectors grow at first use and
/// are only written to afterwards.
void fill_batch(const SequenceSource& source, std::uint64_t first_sequence, std::int64_t rows, Batch& batch);

/// The global batch of a step is the S = world * A * b sequences from the data cursor on; rank r reads its
/// contiguous share in A micro-steps of b rows:
///   index of row j of micro-step m on rank r = cursor + r*A*b + m*b + j.
/// The set that all ranks read together is therefore the same for every world, A and b with the same product,
/// and after the step the data cursor is cursor + S.
class Sampler {
 public:
  struct Partition {
    std::int64_t rank = 0, world = 1;
    std::int64_t micro_steps = 1;       ///< A: micro-batches accumulated in a step
    std::int64_t micro_batch_rows = 1;  ///< b: sequences of a micro-batch on one rank
  };

  /// `source` must outlive the sampler.
  Sampler(const SequenceSource& source, Partition partition);

  const SequenceSource& source() const { return source_; }
  const Partition& partition() const { return partition_; }
  /// S.
  std::int64_t sequences_per_step() const;
  /// Targets of the global batch: what the summed loss of a step is divided by.
  std::int64_t targets_per_step() const;
  std::uint64_t first_sequence(std::uint64_t data_cursor, std::int64_t micro_step) const;
  /// Batch buffers of the right size, for fill() to write into without allocation.
  Batch make_batch() const;
  void fill(std::uint64_t data_cursor, std::int64_t micro_step, Batch& batch) const;

 private:
  const SequenceSource& source_;
  Partition partition_;
};

}  // namespace plumb

#include "data/sampler.h"

#include "core/error.h"

namespace plumb {

void fill_batch(const SequenceSource& source, std::uint64_t first_sequence, std::int64_t rows, Batch& batch) {
  const auto length = static_cast<std::size_t>(source.sequence_length());
  batch.inputs.resize(static_cast<std::size_t>(rows) * length);
  batch.targets.resize(static_cast<std::size_t>(rows) * length);
  batch.first_sequence = first_sequence;
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    source.fill(first_sequence + row, std::span(batch.inputs).subspan(row * length, length),
                std::span(batch.targets).subspan(row * length, length));
  }
}

Sampler::Sampler(const SequenceSource& source, Partition partition) : source_(source), partition_(partition) {
  PLUMB_CHECK(partition.world >= 1 && partition.rank >= 0 && partition.rank < partition.world,
              "rank {} of {}", partition.rank, partition.world);
  PLUMB_CHECK(partition.micro_steps >= 1 && partition.micro_batch_rows >= 1, "{} micro-steps of {} rows",
              partition.micro_steps, partition.micro_batch_rows);
}

std::int64_t Sampler::sequences_per_step() const {
  return partition_.world * partition_.micro_steps * partition_.micro_batch_rows;
}

std::int64_t Sampler::targets_per_step() const {
  return sequences_per_step() * source_.targets_per_sequence();
}

std::uint64_t Sampler::first_sequence(std::uint64_t data_cursor, std::int64_t micro_step) const {
  PLUMB_CHECK(micro_step >= 0 && micro_step < partition_.micro_steps, "micro-step {} of {}", micro_step,
              partition_.micro_steps);
  const std::int64_t micro_batches_before = partition_.rank * partition_.micro_steps + micro_step;
  return data_cursor + static_cast<std::uint64_t>(micro_batches_before * partition_.micro_batch_rows);
}

Batch Sampler::make_batch() const {
  Batch batch;
  const auto elements = static_cast<std::size_t>(partition_.micro_batch_rows * source_.sequence_length());
  batch.inputs.resize(elements);
  batch.targets.resize(elements);
  return batch;
}

void Sampler::fill(std::uint64_t data_cursor, std::int64_t micro_step, Batch& batch) const {
  fill_batch(source_, first_sequence(data_cursor, micro_step), partition_.micro_batch_rows, batch);
}

}  // namespace plumb

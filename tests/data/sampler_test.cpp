#include "data/sampler.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "data/synthetic.h"
#include "data/token_source.h"
#include "data_test_support.h"

namespace plumb {
namespace {
using Rows = std::map<std::uint64_t, std::vector<std::int32_t>>;  // inputs then targets, by sequence index

/// What all ranks read at one step, put together.
Rows global_batch(const SequenceSource& source, std::uint64_t cursor, std::int64_t world,
                  std::int64_t micro_steps, std::int64_t rows) {
  Rows result;
  const auto length = static_cast<std::ptrdiff_t>(source.sequence_length());
  for (std::int64_t rank = 0; rank < world; ++rank) {
    const Sampler sampler(source, {rank, world, micro_steps, rows});
    Batch batch = sampler.make_batch();
    for (std::int64_t micro = 0; micro < micro_steps; ++micro) {
      sampler.fill(cursor, micro, batch);
      EXPECT_EQ(batch.first_sequence, sampler.first_sequence(cursor, micro));
      for (std::ptrdiff_t row = 0; row < rows; ++row) {
        std::vector<std::int32_t> values(batch.inputs.begin() + row * length,
                                         batch.inputs.begin() + (row + 1) * length);
        values.insert(values.end(), batch.targets.begin() + row * length,
                      batch.targets.begin() + (row + 1) * length);
        const auto index = batch.first_sequence + static_cast<std::uint64_t>(row);
        EXPECT_TRUE(result.emplace(index, values).second) << "sequence " << index << " was read twice";
      }
    }
  }
  return result;
}

TEST(Sampler, GlobalBatchDoesNotDependOnThePartition) {
  const TemporaryFolder folder;
  const TokenSource tokens(counting_file(folder, 1000), 1000, 8, 3);
  const auto markov = make_synthetic_source({.sequence_length = 8});
  for (const SequenceSource* source : std::initializer_list<const SequenceSource*>{&tokens, markov.get()}) {
    for (const std::uint64_t cursor : {0U, 12U, 480U, 12345U}) {
      const Rows expected = global_batch(*source, cursor, 1, 1, 12);
      ASSERT_EQ(expected.size(), 12U);
      EXPECT_EQ(expected.begin()->first, cursor);
      EXPECT_EQ(expected.rbegin()->first, cursor + 11);
      for (std::int64_t world = 1; world <= 4; ++world) {
        for (std::int64_t micro_steps = 1; micro_steps <= 12 / world; ++micro_steps) {
          if (12 % (world * micro_steps) != 0) continue;
          EXPECT_EQ(global_batch(*source, cursor, world, micro_steps, 12 / (world * micro_steps)), expected)
              << "world " << world << ", accumulation " << micro_steps;
        }
      }
    }
  }
}

TEST(Sampler, RanksReadContiguousShares) {
  const auto source = make_synthetic_source({.sequence_length = 8});
  const Sampler sampler(*source, {.rank = 2, .world = 3, .micro_steps = 2, .micro_batch_rows = 5});
  EXPECT_EQ(sampler.sequences_per_step(), 30);
  EXPECT_EQ(sampler.targets_per_step(), 240);
  EXPECT_EQ(sampler.first_sequence(100, 0), 120U);
  EXPECT_EQ(sampler.first_sequence(100, 1), 125U);
}

TEST(Sampler, FillsIntoTheSameMemory) {
  const auto source = make_synthetic_source({.sequence_length = 8});
  const Sampler sampler(*source, {.micro_batch_rows = 4});
  Batch batch = sampler.make_batch();
  ASSERT_EQ(batch.inputs.size(), 32U);
  const auto* inputs = batch.inputs.data();
  const auto* targets = batch.targets.data();
  sampler.fill(0, 0, batch);
  const auto first = batch.inputs;
  sampler.fill(4, 0, batch);
  EXPECT_NE(batch.inputs, first);
  EXPECT_EQ(batch.inputs.data(), inputs);
  EXPECT_EQ(batch.targets.data(), targets);
}

TEST(Sampler, RefusesImpossiblePartitions) {
  const auto source = make_synthetic_source({.sequence_length = 8});
  EXPECT_THROW(Sampler(*source, {.rank = 2, .world = 2}), Error);
  EXPECT_THROW(Sampler(*source, {.micro_steps = 0}), Error);
  EXPECT_THROW((void)Sampler(*source, {.micro_steps = 2}).first_sequence(0, 2), Error);
}

}  // namespace
}  // namespace plumb

// How the global batch is shared out.
#include "config/batch.h"

#include <gtest/gtest.h>

#include "config/fixture.h"
#include "core/error.h"

namespace plumb {
namespace {

Config with_sequences(std::int64_t sequences, std::int64_t micro = 0) {
  Config config;
  config.training.sequences_per_step = sequences;
  config.training.micro_batch_sequences = micro;
  return config;
}

std::string batch_error(const Config& config, int world) {
  try {
    check_batch(config, world);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(ConfigBatch, SharesSequences) {
  const BatchShare batch = check_batch(with_sequences(24, 4), 3);
  EXPECT_EQ(batch.global_sequences, 24);
  EXPECT_EQ(batch.local_sequences, 8);
  EXPECT_EQ(batch.micro_batch, 4);
  EXPECT_EQ(batch.accumulation, 2);
  EXPECT_EQ(check_batch(with_sequences(24), 2).micro_batch, 12);
  EXPECT_EQ(check_batch(with_sequences(24), 2).accumulation, 1);
}

TEST(ConfigBatch, SharesTokens) {
  Config config = with_sequences(0, 1);
  config.training.tokens_per_step = 512;
  const BatchShare batch = check_batch(config, 2);
  EXPECT_EQ(batch.global_sequences, 4);
  EXPECT_EQ(batch.local_sequences, 2);
  EXPECT_EQ(batch.accumulation, 2);
}

TEST(ConfigBatch, ErrorsListTheNearestValidValues) {
  EXPECT_EQ(batch_error(with_sequences(10), 4),
            "training.sequences_per_step = 10 cannot be split over 4 ranks; nearest valid: 8, 12");
  EXPECT_EQ(batch_error(with_sequences(3), 4),
            "training.sequences_per_step = 3 cannot be split over 4 ranks; nearest valid: 4");
  EXPECT_EQ(batch_error(with_sequences(24, 5), 2),
            "training.micro_batch_sequences = 5 does not divide the 12 sequences of each rank (24 over 2 "
            "ranks); nearest "
            "valid: 4, 6");
  EXPECT_EQ(
      batch_error(with_sequences(24, 50), 2),
      "training.micro_batch_sequences = 50 does not divide the 12 sequences of each rank (24 over 2 ranks); "
      "nearest valid: 12");
  Config config = with_sequences(0);
  config.training.tokens_per_step = 128 * 10;
  EXPECT_EQ(batch_error(config, 4),
            "training.tokens_per_step = 1280 cannot be split over 4 ranks; nearest valid: 1024, 1536");
}

TEST(ConfigBatch, TheOriginIsNamedWhereItIsKnown) {
  try {
    check_batch(load_text(minimal()), 3);
    FAIL() << "8 sequences over 3 ranks were accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "configs/x.toml:2: training.sequences_per_step = 8 cannot be split over 3 ranks; nearest "
                 "valid: 6, 9");
  }
}

}  // namespace
}  // namespace plumb

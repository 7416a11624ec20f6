// What is done about a step when the host sees it only after the next one has begun.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "checkpoint/checkpoint.h"
#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

std::vector<std::string> on_emulated_gpu(const std::vector<std::string>& more) {
  std::vector<std::string> settings = {"device=cuda-emulated", "model.blocks=8", "checkpoint.every=20"};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

std::vector<double> column(const std::filesystem::path& run, const char* name) {
  std::vector<double> values;
  for (const Json& record : read_records(run / "metrics.jsonl"))
    values.push_back(record.at(name).is_boolean() ? double(record.at(name).get<bool>())
                                                  : record.at(name).get<double>());
  return values;
}

void expect_same_parameters(const std::filesystem::path& run, const std::filesystem::path& reference) {
  const Checkpoint a = load_checkpoint(checkpoint_folder(run, 20)),
                   b = load_checkpoint(checkpoint_folder(reference, 20));
  for (const std::string& name : a.model.names()) {
    const Tensor x = a.model.tensor(name), y = b.model.tensor(name, x.shape);
    EXPECT_EQ(std::memcmp(x.data, y.data, x.bytes()), 0) << name;
  }
}

// Passes: step 13, step 14 while the host does not know yet, step 13 again for the report, step 14 again.
TEST(StepsAhead, AReportHoldsThemBackAndTheyAreMadeAgain) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  const std::filesystem::path looked = folder.path() / "looked", not_looked = folder.path() / "not_looked";
  Outcome outcome = faulty_run(1, config, looked, "nan-passes 13 15 0", on_emulated_gpu({}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  outcome =
      faulty_run(1, config, not_looked, "nan-passes 13 13 0", on_emulated_gpu({"non_finite.reports=0"}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_TRUE(std::filesystem::exists(looked / "nan" / "step_00000013.json"));
  EXPECT_THAT(outcome.output, ::testing::Not(::testing::HasSubstr("a later step")));
  std::vector<double> skipped(20, 0.0);
  skipped[12] = 1;
  EXPECT_EQ(column(looked, "skipped"), skipped);
  EXPECT_EQ(column(looked, "data_cursor"), column(not_looked, "data_cursor"));
  expect_same_parameters(looked, not_looked);
}

TEST(StepsAhead, ASpikeIsSkippedInItsOwnStep) {
  const TemporaryFolder folder;
  const Outcome outcome =
      faulty_run(2, write_config(folder.path()), folder.path() / "run", "noise 120 120 0",
                 {"device=cuda-emulated", "model.blocks=1", "model.sequence_length=8", "training.steps=124",
                  "learning_rate.kind=constant", "spikes.action=skip", "statistics.detail_every=0",
                  "optimizer.learning_rate=2e-2"});
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  std::vector<double> skipped(124, 0.0);
  skipped[119] = 1;
  EXPECT_EQ(column(folder.path() / "run", "skipped"), skipped);
}

TEST(StepsAhead, ARollBackThrowsThemAway) {
  const TemporaryFolder folder;
  const Outcome outcome =
      faulty_run(1, write_config(folder.path()), folder.path() / "run", "noise 120 120 0",
                 {"device=cuda-emulated", "model.blocks=1", "model.sequence_length=8", "training.steps=124",
                  "learning_rate.kind=constant", "spikes.action=roll_back", "statistics.detail_every=0",
                  "optimizer.learning_rate=2e-2", "checkpoint.every=50"});
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const std::vector<double> cursors = column(folder.path() / "run", "data_cursor");
  ASSERT_EQ(cursors.size(), 124u);
  EXPECT_EQ(cursors[99], 12 * 100);
  EXPECT_EQ(cursors[100], 12 * 121) << "the data after the spike";
  EXPECT_EQ(cursors[123], 12 * 144);
}

}  // namespace
}  // namespace plumb::distributed

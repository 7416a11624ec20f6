// An interrupted run that is taken up again equals one that was never interrupted.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

/// Everything that a checkpoint could forget: random draws, a schedule over time, accumulation, validation in
/// between, intervals of the statistics (stability_every = 3) that reach over the interruption.
const std::vector<std::string> kSettings = {
    "model.dropout.branch=0.1",         "model.residual.b.keep_probability=0.8",
    "model.residual.b.time=linear",     "model.residual.b.ramp_steps=15",
    "training.micro_batch_sequences=3", "validation.every=7",
    "validation.sequences=24",          "checkpoint.every=10",
};

/// As a job looks that was killed between its checkpoint of step 10 and that of step 20: logs beyond the
/// checkpoint, the last line torn.
void make_killed_run(const std::filesystem::path& whole, const std::filesystem::path& killed) {
  std::filesystem::copy(whole, killed, std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(checkpoint_folder(killed, 20));
  const std::string log = plumb::testing::read_bytes(killed / "metrics.jsonl");
  plumb::testing::write_bytes(killed / "metrics.jsonl", log.substr(0, log.size() - 40));
}

class Resume : public ::testing::TestWithParam<int> {};

TEST_P(Resume, AKilledRunEqualsAWholeOne) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  const std::filesystem::path whole = folder.path() / "whole", killed = folder.path() / "killed";
  train(GetParam(), config, whole, kSettings);
  make_killed_run(whole, killed);
  train(GetParam(), config, killed, kSettings, "--resume auto");
  expect_same_logs(killed, whole);
  expect_same_checkpoint(killed, whole, 20);
}

TEST_P(Resume, TenStepsAndTenMoreEqualTwenty) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  std::vector<std::string> settings = kSettings;
  settings.push_back("learning_rate.kind=constant");  // the only kind that does not depend on training.steps
  train(GetParam(), config, folder.path() / "whole", settings);
  std::vector<std::string> half = settings;
  half.push_back("training.steps=10");
  train(GetParam(), config, folder.path() / "halves", half);
  train(GetParam(), config, folder.path() / "halves", settings, "--resume auto");
  expect_same_logs(folder.path() / "halves", folder.path() / "whole");
  expect_same_checkpoint(folder.path() / "halves", folder.path() / "whole", 20);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Resume, ::testing::Values(1, 2));

TEST(ResumeElsewhere, OnAnotherNumberOfRanks) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path()), whole = folder.path() / "whole";
  std::vector<std::string> settings = kSettings;
  settings.push_back("training.micro_batch_sequences=0");
  train(2, config, whole, settings);
  for (const int ranks : {1, 4}) {
    SCOPED_TRACE(fmt::format("from 2 ranks to {}", ranks));
    const std::filesystem::path killed = folder.path() / fmt::format("on_{}", ranks);
    make_killed_run(whole, killed);
    train(ranks, config, killed, settings, "--resume auto");
    EXPECT_EQ(loss_curve(killed).size(), 20U);
    EXPECT_LE(curve_distance(loss_curve(killed), loss_curve(whole)), 1e-5);
  }
}

TEST(ResumeElsewhere, FromANamedCheckpointIntoANewFolder) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path()), whole = folder.path() / "whole";
  train(1, config, whole, kSettings);
  train(1, config, folder.path() / "branch", kSettings, "--resume " + checkpoint_folder(whole, 10).string());
  expect_same_checkpoint(folder.path() / "branch", whole, 20);
}

}  // namespace
}  // namespace plumb::distributed

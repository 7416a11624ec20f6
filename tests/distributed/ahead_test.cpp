// What is done about a step when the host sees it only after the next one has begun.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "checkpoint/checkpoint.h"
#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;
using ::testing::HasSubstr;
using ::testing::Not;

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

bool has_report(const std::filesystem::path& run, int step) {
  return std::filesystem::exists(run / "nan" / fmt::format("step_{:08}.json", step));
}

std::vector<double> only_step(int step, int steps = 20) {
  std::vector<double> skipped(static_cast<std::size_t>(steps), 0.0);
  skipped[static_cast<std::size_t>(step - 1)] = 1;
  return skipped;
}

// Passes: step 14, step 15 (with a record of all statistics) while the host does not know yet, step 14 again
// for the report, step 15 again.
TEST(StepsAhead, AReportHoldsThemBackAndTheyAreMadeAgain) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  const std::filesystem::path looked = folder.path() / "looked", not_looked = folder.path() / "not_looked";
  Outcome outcome = faulty_run(2, config, looked, "nan-passes 14 16 0", on_emulated_gpu({}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, Not(HasSubstr("a later one")));
  outcome =
      faulty_run(2, config, not_looked, "nan-passes 14 14 0", on_emulated_gpu({"non_finite.reports=0"}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_TRUE(has_report(looked, 14));
  EXPECT_EQ(column(looked, "skipped"), only_step(14));
  expect_same_logs(looked, not_looked);
  expect_same_checkpoint(looked, not_looked, 20);
}

// The device halts for the norm alone: nothing of a step whose loss is bad is made again.
TEST(StepsAhead, ALossThatIsNotFiniteHoldsNothingBack) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  const std::filesystem::path bad = folder.path() / "bad", good = folder.path() / "good";
  Outcome outcome = faulty_run(1, config, bad, "loss-passes 13 13 0", on_emulated_gpu({}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("with parameters that this step or a later one has updated"));
  outcome = faulty_run(1, config, good, "none 0 0 0", on_emulated_gpu({}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_TRUE(has_report(bad, 13));
  EXPECT_EQ(column(bad, "data_cursor"), column(good, "data_cursor"));
  EXPECT_EQ(column(bad, "skipped"), std::vector<double>(20, 0.0));
  expect_same_parameters(bad, good);
}

// What runs on when a run stops is judged as any step is.
TEST(StepsAhead, AStoppedRunJudgesWhatIsUnderWay) {
  const TemporaryFolder folder;
  const Outcome outcome =
      faulty_run(1, write_config(folder.path()), folder.path() / "run", "nan-passes 13 13 0",
                 on_emulated_gpu({"non_finite.action=stop", "non_finite.reports=0"}));
  EXPECT_NE(outcome.status, 0);
  const std::vector<Json> records = read_records(folder.path() / "run" / "metrics.jsonl");
  ASSERT_EQ(records.size(), 14u);
  for (const Json& record : records) EXPECT_EQ(record.count("loss_spike_share"), 1u) << record;
}

// In fp16 an overflow is what the loss scale lives by; a loss that is not finite is not.
TEST(StepsAhead, InFp16OnlyTheLossIsLookedInto) {
  const TemporaryFolder folder;
  const Outcome outcome =
      faulty_run(1, write_config(folder.path()), folder.path() / "run", "loss-passes 13 13 0",
                 on_emulated_gpu({"compute.dtype=fp16", "loss_scale.initial=16777216"}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(column(folder.path() / "run", "skipped").front(), 1) << "an overflow";
  for (int step = 1; step <= 20; ++step)
    EXPECT_EQ(has_report(folder.path() / "run", step), step == 13) << step;
}

// Differences of gradients that were rounded to bf16 on their way say nothing of the Hessian.
TEST(StepsAhead, SharpnessIsMeasuredWithoutATrace) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  const auto run = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> settings = on_emulated_gpu({"model.blocks=2", "training.steps=20"});
    settings.insert(settings.end(), more.begin(), more.end());
    const Outcome outcome = faulty_run(2, config, folder.path() / name, "none 0 0 0", settings);
    ASSERT_EQ(outcome.status, 0) << outcome.output;
  };
  const std::vector<std::string> measured = {"sharpness.every=10", "sharpness.iterations=2"};
  run("plain", {});
  run("measured", measured);
  expect_same_checkpoint(folder.path() / "measured", folder.path() / "plain", 20);
  const auto fields = [&](const std::string& name) {
    const Json record = read_records(folder.path() / name / "metrics.jsonl")[9];
    return std::array{record.count("critical_lr"), record.count("hessian_eigenvalue")};
  };
  EXPECT_EQ(fields("measured"), (std::array<std::size_t, 2>{1, 1}));
  for (const std::string setting : {"communication.gradient_dtype=bf16", "compute.dtype=tf32"}) {
    std::vector<std::string> rounded = measured;
    rounded.push_back(setting);
    run(setting, rounded);
    EXPECT_EQ(fields(setting), (std::array<std::size_t, 2>{1, 0})) << setting;
  }
}

const std::vector<std::string> kLearns = {"device=cuda-emulated",      "model.blocks=1",
                                          "model.sequence_length=8",   "training.steps=124",
                                          "checkpoint.every=50",       "learning_rate.kind=constant",
                                          "statistics.detail_every=0", "optimizer.learning_rate=2e-2"};

std::vector<std::string> learning(const std::vector<std::string>& more) {
  std::vector<std::string> settings = kLearns;
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

TEST(StepsAhead, ASpikeIsSkippedInItsOwnStep) {
  for (const char* captured : {"false", "true"}) {
    const TemporaryFolder folder;
    const Outcome outcome =
        faulty_run(2, write_config(folder.path()), folder.path() / "run", "noise 120 120 0",
                   learning({"spikes.action=skip", std::string("compute.captured_steps=") + captured}));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    EXPECT_EQ(column(folder.path() / "run", "skipped"), only_step(120, 124)) << captured;
  }
}

TEST(StepsAhead, ARollBackThrowsThemAway) {
  const TemporaryFolder folder;
  const Outcome outcome = faulty_run(1, write_config(folder.path()), folder.path() / "run", "noise 120 120 0",
                                     learning({"spikes.action=roll_back"}));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const std::vector<double> cursors = column(folder.path() / "run", "data_cursor");
  ASSERT_EQ(cursors.size(), 124u);
  EXPECT_EQ(cursors[99], 12 * 100);
  EXPECT_EQ(cursors[100], 12 * 121) << "the data after the spike";
  EXPECT_EQ(cursors[123], 12 * 144);
}

// Going back has not helped: the run ends at the step that it could not pass, not at one that was thrown
// away.
TEST(StepsAhead, ALastRollBackEndsWhereItStands) {
  const TemporaryFolder folder;
  const Outcome outcome =
      faulty_run(1, write_config(folder.path()), folder.path() / "run", "noise 120 100000 0",
                 learning({"spikes.action=roll_back", "spikes.roll_back_limit=1"}));
  EXPECT_NE(outcome.status, 0);
  const Json stop = read_records(folder.path() / "run" / "events.jsonl").back();
  ASSERT_EQ(stop.at("kind"), "stop");
  EXPECT_THAT(stop.at("text").get<std::string>(),
              ::testing::StartsWith(fmt::format("step {}:", stop.at("step").get<int>())));
}

}  // namespace
}  // namespace plumb::distributed

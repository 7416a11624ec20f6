// Spikes of a run: logged, skipped, gone back from; and a run that is taken up again equals a whole one.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;
using ::testing::HasSubstr;

/// The data of step 240 are noise, in a run that has learnt its task by then.
constexpr int kSpike = 240;
const std::string kNoise = fmt::format("noise {} {} 0", kSpike, kSpike);
const std::vector<std::string> kSettings = {
    "training.steps=260",          "optimizer.learning_rate=5e-3",
    "learning_rate.kind=constant", "learning_rate.warmup_steps=10",
    "checkpoint.every=20",         "statistics.detail_every=0",
};

std::vector<std::string> with(std::vector<std::string> settings, const std::vector<std::string>& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

std::vector<Json> events(const std::filesystem::path& run, const std::string& kind) {
  std::vector<Json> found;
  for (const Json& event : read_records(run / "events.jsonl"))
    if (event.at("kind") == kind) found.push_back(event);
  return found;
}

class Spikes : public ::testing::TestWithParam<int> {
 protected:
  void run(const std::string& name, const std::vector<std::string>& more, bool resume = false,
           const std::string& fault = kNoise) {
    const Outcome outcome =
        faulty_run(GetParam(), config_, folder_.path() / name, fault, with(kSettings, more), resume);
    ASSERT_EQ(outcome.status, 0) << outcome.output;
  }
  std::filesystem::path operator()(const std::string& name) const { return folder_.path() / name; }

  TemporaryFolder folder_;
  std::filesystem::path config_ = write_config(folder_.path());
};
INSTANTIATE_TEST_SUITE_P(Ranks, Spikes, ::testing::Values(1, 2));

TEST_P(Spikes, AreEventsAndFields) {
  run("logged", {});
  const std::vector<Json> spikes = events((*this)("logged"), "spike");
  ASSERT_FALSE(spikes.empty());
  EXPECT_EQ(spikes.front().at("step"), kSpike);
  EXPECT_THAT(spikes.front().at("text").get<std::string>(), HasSubstr("loss "));
  EXPECT_THAT(spikes.front().at("text").get<std::string>(), HasSubstr("standard deviations"));
  const std::vector<Json> records = read_records((*this)("logged") / "metrics.jsonl");
  const Json& spike = records[kSpike - 1];
  EXPECT_GE(spike.at("loss_deviation").get<double>(), 6);
  EXPECT_GE(spike.at("grad_norm_deviation").get<double>(), 6);
  EXPECT_FALSE(spike.at("skipped").get<bool>()) << "only looked at";
  EXPECT_GT(spike.at("loss_spike_share").get<double>(), 0);
  EXPECT_GT(spike.at("loss_spike_score").get<double>(), 0);
  EXPECT_EQ(records[60].count("loss_deviation"), 0u) << "nothing is judged before 64 values";
  EXPECT_EQ(records[70].count("loss_deviation"), 1u);
}

// What is known to move first is in the log of the steps before, at the cadence that docs/design/spikes.md
// says.
TEST_P(Spikes, WhatMovesBeforeThemIsInTheLog) {
  run("leading", {"statistics.detail_every=2", "log.stability_every=4"});
  const std::vector<Json> records = read_records((*this)("leading") / "metrics.jsonl");
  for (int step = kSpike - 16; step < kSpike; ++step) {
    const Json& record = records.at(static_cast<std::size_t>(step - 1));
    EXPECT_GT(record.at("adam_lag").get<double>(), 0) << step;
    ASSERT_EQ(record.count("kappa"), step % 4 == 0 ? 1u : 0u) << step;
    ASSERT_EQ(record.count("largest_attention_logit"), step % 8 == 0 ? 1u : 0u) << step;
  }
}

/// Every parameter of a checkpoint, without the file's header, which names the step.
std::vector<char> parameters(const std::filesystem::path& run, int step) {
  const Checkpoint checkpoint = load_checkpoint(checkpoint_folder(run, step));
  std::vector<char> bytes;
  for (const std::string& name : checkpoint.model.names()) {
    const Tensor tensor = checkpoint.model.tensor(name);
    const auto* first = static_cast<const char*>(tensor.data);
    bytes.insert(bytes.end(), first, first + tensor.bytes());
  }
  return bytes;
}

TEST_P(Spikes, AreSkippedOnTheDevice) {
  const auto run_to = [&](int steps, const std::string& action) {
    const std::string name = fmt::format("{}_{}", action, steps);
    run(name, {"spikes.action=" + action, fmt::format("training.steps={}", steps), "checkpoint.every=0",
               "checkpoint.at_end=true"});
    return parameters((*this)(name), steps);
  };
  EXPECT_TRUE(run_to(kSpike, "skip") == run_to(kSpike - 1, "skip"));
  EXPECT_FALSE(run_to(kSpike, "log") == run_to(kSpike - 1, "log"));
  EXPECT_FALSE(run_to(kSpike + 1, "skip") == parameters((*this)(fmt::format("skip_{}", kSpike)), kSpike));
  for (const Json& record : read_records((*this)(fmt::format("skip_{}", kSpike + 1)) / "metrics.jsonl"))
    ASSERT_EQ(record.at("skipped").get<bool>(), record.at("step") == kSpike) << record;
  const Json skip = events((*this)(fmt::format("skip_{}", kSpike)), "skip").front();
  EXPECT_THAT(skip.at("text").get<std::string>(), HasSubstr("a spike of the loss"));
}

TEST_P(Spikes, AreGoneBackFromAndTheDataGoOn) {
  run("back", {"spikes.action=roll_back"});
  EXPECT_EQ(loss_curve((*this)("back")).size(), 260u) << "every step is in the log once";
  const std::vector<Json> back = events((*this)("back"), "roll_back");
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back.front().at("step"), kSpike - 20) << "it is there that the run stands";
  EXPECT_THAT(back.front().at("text").get<std::string>(), HasSubstr(fmt::format("step {}: loss", kSpike)));
  const std::vector<Json> records = read_records((*this)("back") / "metrics.jsonl");
  EXPECT_EQ(records[kSpike - 21].at("data_cursor"), 12 * (kSpike - 20));
  EXPECT_EQ(records[kSpike - 20].at("data_cursor"), 12 * (kSpike + 1)) << "past the spike's batch";
  const std::vector<Json> aside = read_records((*this)("back") / "rolled_back.jsonl");
  bool has_spike = false;
  for (const Json& record : aside)
    has_spike = has_spike || (record.count("loss") && record.at("step") == kSpike);
  EXPECT_TRUE(has_spike) << "what happened stays to be read";
  for (const Json& record : records) EXPECT_LT(record.value("loss_deviation", 0.0), 6);
}

// Windows, averages and the count of roll-backs travel in checkpoints.
TEST_P(Spikes, AnInterruptedRunEqualsAWholeOne) {
  for (const std::vector<std::string>& rules :
       {std::vector<std::string>{"spikes.action=skip", "spikes.z_clip=1.5", "spikes.z_clip_warmup_steps=30"},
        {"spikes.action=skip", "spikes.tensor_clip=1.05", "spikes.tensor_clip_warmup_steps=50"},
        {"spikes.action=roll_back"}}) {
    const std::string name = fmt::format("{}_{}", rules.size(), rules.back().substr(7, 4));
    SCOPED_TRACE(name);
    run(name, with(rules, {"checkpoint.keep=3"}));
    const std::filesystem::path whole = (*this)(name), killed = (*this)(name + "_killed");
    std::filesystem::copy(whole, killed, std::filesystem::copy_options::recursive);
    for (const int step : {240, 260}) std::filesystem::remove_all(checkpoint_folder(killed, step));
    run(name + "_killed", with(rules, {"checkpoint.keep=3"}), /*resume=*/true);
    expect_same_logs(killed, whole);
    expect_same_checkpoint(killed, whole, 260);
    EXPECT_EQ(events(killed, "roll_back").size(), events(whole, "roll_back").size());
  }
}

TEST_P(Spikes, ClippingIsSeenInTheRecords) {
  run("z", {"spikes.z_clip=2.5", "optimizer.clip_norm=0"});
  run("tensors", {"spikes.tensor_clip=1.05"});
  const std::vector<Json> z = read_records((*this)("z") / "metrics.jsonl"),
                          tensors = read_records((*this)("tensors") / "metrics.jsonl");
  EXPECT_EQ(z[10].at("clip_coef"), 1) << "the first 25 steps are only looked at";
  EXPECT_LT(z[kSpike - 1].at("clip_coef").get<double>(), 0.5);
  EXPECT_EQ(tensors[50].at("clipped_tensors"), 0) << "the first 100 steps clip the global norm";
  EXPECT_GT(tensors[kSpike - 1].at("clipped_tensors").get<int>(), 5);
  EXPECT_EQ(tensors[kSpike - 1].at("clip_coef"), 1);
}

TEST(SpikesEnd, ACheckpointThatOneRankCannotReadEndsTheRunOnAll) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  std::string settings = "run.dir=run communication.timeout_seconds=500";
  for (const std::string& setting : with(kSettings, {"spikes.action=roll_back"})) settings += " " + setting;
  const Outcome outcome = shell(fmt::format("cd {} && ", folder.path().string()) +
                                mpirun(2, fmt::format("{} new {} astray {} {} 1 {}", PLUMB_FAULTY_RUN,
                                                      config.string(), kSpike, kSpike, settings)));
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("(rank 1 of 2"));
  const Json stop = read_records(folder.path() / "run" / "events.jsonl").back();
  EXPECT_EQ(stop.at("kind"), "stop");
  EXPECT_THAT(stop.at("text").get<std::string>(), HasSubstr("which not every rank can read"));
}

TEST(SpikesEnd, RollBacksThatDoNotHelpEndTheRun) {
  const TemporaryFolder folder;
  const Outcome outcome = faulty_run(
      2, write_config(folder.path()), folder.path() / "run", fmt::format("noise {} 100000 0", kSpike),
      with(kSettings, {"spikes.action=roll_back", "spikes.roll_back_limit=2"}));
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("2 roll-back(s) to "));
  EXPECT_THAT(outcome.output, HasSubstr("spikes.roll_back_limit"));
}

}  // namespace
}  // namespace plumb::distributed

// A signal to mpirun saves the run and ends all ranks; the run that goes on from there loses nothing.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "checkpoint/checkpoint.h"
#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

/// Processes whose command line names the folder.
int processes_naming(const std::filesystem::path& folder) {
  int found = 0;
  std::error_code vanished;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", vanished)) {
    std::ifstream stream(entry.path() / "cmdline");
    const std::string words{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    found += words.find(folder.string()) != std::string::npos ? 1 : 0;
  }
  return found;
}

/// Trains without end on two ranks and sends mpirun the signal when some steps are through. Waits for mpirun.
Outcome train_until_signal(const std::string& signal, const std::filesystem::path& config,
                           const std::filesystem::path& run, const std::vector<std::string>& settings) {
  const std::string command =
      mpirun(2,
             fmt::format("{} train {} --set run.dir={} --set training.steps=100000000{}", PLUMB_PROGRAM,
                         config.string(), run.string(), set_options(settings)),
             "--mca odls_base_sigkill_timeout 2");
  return shell(
      fmt::format("{0} & pid=$!; i=0; "
                  "while [ $i -lt 600 ] && [ $(cat {1}/metrics.jsonl 2>/dev/null | wc -l) -lt 5 ]; "
                  "do sleep 0.05; i=$((i+1)); done; kill -{2} $pid; wait $pid",
                  command, run.string(), signal));
}

class StopSignal : public ::testing::TestWithParam<std::string> {};

TEST_P(StopSignal, SavesAndGoesOn) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path()), run = folder.path() / "stopped",
                              whole = folder.path() / "whole";
  const std::vector<std::string> settings = {"learning_rate.kind=constant", "model.dropout.branch=0.1"};
  const Outcome outcome = train_until_signal(GetParam(), config, run, settings);
  // mpirun's own exit status after SIGTERM is not ours to choose.
  if (GetParam() == "USR1") {
    EXPECT_EQ(outcome.status, 0) << outcome.output;
  }
  EXPECT_THAT(outcome.output, ::testing::HasSubstr("stopped after"));
  EXPECT_EQ(processes_naming(run), 0) << "a rank is left";

  const auto checkpoint = load_latest_checkpoint(run / "checkpoints");
  ASSERT_TRUE(checkpoint) << outcome.output;
  const int step = static_cast<int>(checkpoint->manifest.step);
  EXPECT_GE(step, 5);
  EXPECT_EQ(loss_curve(run).size(), static_cast<std::size_t>(step)) << "the log ends where the run stopped";
  std::vector<std::string> kinds;
  for (const Json& event : read_records(run / "events.jsonl")) kinds.push_back(event.at("kind"));
  EXPECT_THAT(kinds, ::testing::Contains("stop"));

  std::vector<std::string> further = settings;
  further.insert(further.end(), {fmt::format("training.steps={}", step + 5), "checkpoint.at_end=true"});
  train(2, config, run, further, "--resume auto");
  train(2, config, whole, further);
  expect_same_logs(run, whole);
  expect_same_checkpoint(run, whole, step + 5);
}

INSTANTIATE_TEST_SUITE_P(Signals, StopSignal, ::testing::Values("USR1", "TERM"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace plumb::distributed

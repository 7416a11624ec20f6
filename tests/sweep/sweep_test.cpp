// plumb sweep from outside: what it trains, resumes, prints and leaves behind.
#include <gmock/gmock.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/tiny_run.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

/// The tiny run without its folder, and a sweep; written as @/study.toml.
std::string write_sweep(const Folder& folder, const std::string& sweep) {
  write_tiny_data(folder);
  std::string base = kTinyConfig;
  const std::string run_folder = "run.dir = \"@/run\"\n";
  base.erase(base.find(run_folder), run_folder.size());
  write_file(folder / "study.toml", folder.fill(base + sweep));
  return folder / "study.toml";
}

std::vector<std::string> sweep_line(const Folder& folder, const std::vector<std::string>& more = {}) {
  std::vector<std::string> line = {"sweep", folder / "study.toml", "--output", folder / "runs"};
  line.insert(line.end(), more.begin(), more.end());
  return line;
}

Outcome run_sweep(const Folder& folder, const std::vector<std::string>& more = {}) {
  return Running(folder, plumb_line(1, sweep_line(folder, more))).wait(240);
}

json sweep_json(const Folder& folder) { return json::parse(read_file(folder / "runs/sweep.json")); }

/// Of every step, without times.
std::vector<std::string> losses_of(const std::string& run) {
  std::vector<std::string> list;
  for (const std::string& line : lines_of(read_file(run + "/metrics.jsonl")))
    list.push_back(line.substr(0, line.find("\"tokens_per_s\"")));
  return list;
}

constexpr const char* kTwoByTwo = R"([sweep]
model.placement = ["pre", "post"]
optimizer.learning_rate = [1e-3, 1e-2]
)";

TEST(Sweep, TrainsEveryCellAndSaysWhatCameOut) {
  const Folder folder;
  write_sweep(folder, kTwoByTwo);
  const Outcome outcome = run_sweep(folder);
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  const json result = sweep_json(folder);
  ASSERT_EQ(result["cells"].size(), 4u);
  for (const json& cell : result["cells"]) {
    EXPECT_EQ(cell["state"], "finished");
    EXPECT_EQ(cell["step"], 6);
    EXPECT_EQ(losses_of(cell["run"]).size(), 6u);
    EXPECT_THAT(outcome.out, HasSubstr(cell["name"].get<std::string>()));
    EXPECT_THAT(read_file(cell["output"].get<std::string>()), HasSubstr("done: 6 steps"));
    EXPECT_THAT(read_file(cell["run"].get<std::string>() + "/config.toml"),
                HasSubstr("placement = " + cell["settings"]["model.placement"].dump()));
  }
  // The metric by hand from the cells' own numbers: of two rates the worse one's excess, halved.
  ASSERT_EQ(result["learning_rate_sensitivity"].size(), 2u);
  for (std::size_t group = 0; group < 2; ++group) {
    const json &low = result["cells"][2 * group], &high = result["cells"][2 * group + 1];
    const double first = low["validation_loss"], second = high["validation_loss"],
                 start = low["initial_loss"];
    EXPECT_NEAR(result["learning_rate_sensitivity"][group]["value"].get<double>(),
                (std::min(first, start) + std::min(second, start) - 2 * std::min(first, second)) / 2, 1e-12);
  }
  EXPECT_THAT(outcome.out, HasSubstr("Sensitivity to the learning rate"));
  EXPECT_THAT(outcome.out, ::testing::AnyOf(HasSubstr("no report: this program was built without Vega"),
                                            HasSubstr("report: " + (folder / "runs/report.html"))));
  EXPECT_EQ(fs::exists(folder / "runs/report.html"), outcome.out.find("no report") == std::string::npos);
}

TEST(Sweep, ACellIsTheRunThatTrainMakes) {
  const Folder folder;
  write_sweep(folder, "[sweep]\nmodel.placement = [\"pre\"]\ntraining.seed = [5]\n");
  ASSERT_EQ(run_sweep(folder).status, 0);
  write_file(folder / "config.toml", folder.fill(kTinyConfig));
  ASSERT_EQ(train_tiny(folder, 1, {"--set", "model.placement=pre", "--set", "training.seed=5"}).status, 0);
  EXPECT_EQ(losses_of(folder / "runs/pre_seed=5"), losses_of(folder / "run"));
}

TEST(Sweep, FinishedCellsAreLeftAloneAndKilledOnesGoOn) {
  const Folder folder;
  write_sweep(folder, "[sweep]\ntraining.seed = [1, 2, 3]\n[checkpoint]\nevery = 2\n");
  ASSERT_EQ(run_sweep(folder).status, 0);
  const std::vector<std::string> runs = {folder / "runs/seed=1", folder / "runs/seed=2",
                                         folder / "runs/seed=3"};
  const std::vector<std::string> second = losses_of(runs[1]), third = losses_of(runs[2]);
  const std::string first = read_file(runs[0] + "/metrics.jsonl");
  // The second as a kill after step 4 leaves it, the third as one before any checkpoint.
  fs::remove_all(runs[1] + "/checkpoints/step_00000006");
  fs::remove_all(runs[2] + "/checkpoints");

  const Outcome dry = run_sweep(folder, {"--dry-run"});
  EXPECT_EQ(dry.status, 0) << dry.text();
  EXPECT_THAT(dry.out, ::testing::ContainsRegex("1 +finished +6/6"));
  EXPECT_THAT(dry.out, ::testing::ContainsRegex("2 +begun +6/6"));
  EXPECT_THAT(dry.out, ::testing::ContainsRegex("3 +starts anew +6/6"));

  const Outcome again = run_sweep(folder);
  ASSERT_EQ(again.status, 0) << again.text();
  EXPECT_THAT(again.out, Not(HasSubstr("[1/3]")));
  EXPECT_EQ(read_file(runs[0] + "/metrics.jsonl"), first);
  EXPECT_EQ(losses_of(runs[1]), second);
  EXPECT_EQ(losses_of(runs[2]), third);
  EXPECT_THAT(read_file(folder / "runs/output/seed=2.txt"), HasSubstr("going on after step 4"));
  EXPECT_THAT(read_file(folder / "runs/output/seed=3.txt"), Not(HasSubstr("going on")));
}

TEST(Sweep, ACellOfOtherSettingsIsNotMistakenForOurs) {
  const Folder folder;
  write_sweep(folder, "[sweep]\ntraining.seed = [1, 2]\n");
  ASSERT_EQ(run_sweep(folder).status, 0);
  const Outcome other = run_sweep(folder, {"--set", "model.width=32"});
  EXPECT_EQ(other.status, 2) << other.text();
  EXPECT_EQ(lines_of(other.error).size(), 1u) << other.text();
  EXPECT_THAT(other.error, HasSubstr("runs/seed=1: holds a run with other settings (model.width: 16 -> 32)"));
  EXPECT_EQ(run_sweep(folder, {"--set", "log.console_every=1"}).status, 0) << "that shapes no number";
}

TEST(Sweep, JobsRunSideBySideWithTheSameNumbers) {
  const Folder folder;
  write_sweep(folder, "[sweep]\ntraining.seed = [1, 2, 3]\n");
  ASSERT_EQ(run_sweep(folder, {"--jobs", "2"}).status, 0);
  const std::vector<std::string> losses = losses_of(folder / "runs/seed=3");
  fs::remove_all(folder / "runs");
  ASSERT_EQ(run_sweep(folder).status, 0);
  EXPECT_EQ(losses_of(folder / "runs/seed=3"), losses);
}

TEST(Sweep, ACellThatFailsDoesNotStopTheOthers) {
  const Folder folder;
  write_sweep(folder, "[sweep.axis.data]\nmissing = {data.train = \"@/absent.bin\"}\nthere = {}\n");
  const Outcome outcome = run_sweep(folder);
  EXPECT_EQ(outcome.status, 1) << outcome.text();
  const json cells = sweep_json(folder)["cells"];
  EXPECT_EQ(cells[0]["state"], "failed");
  EXPECT_EQ(cells[0]["status"], 2);
  EXPECT_EQ(cells[1]["state"], "finished");
  EXPECT_THAT(outcome.error,
              HasSubstr("missing failed; what it printed: " + (folder / "runs/output/missing.txt")));
  EXPECT_THAT(outcome.error, HasSubstr("1 of 2 cells are not finished"));
  EXPECT_THAT(read_file(folder / "runs/output/missing.txt"), HasSubstr("absent.bin"));
}

TEST(Sweep, CtrlCSavesTheRunsAndTheSameLineGoesOn) {
  const Folder folder;
  const std::string sweep = "[sweep]\ntraining.seed = [1, 2, 3]\n";
  write_sweep(folder, sweep);
  const std::vector<std::string> steps = {"--set", "training.steps=3000", "--set", "log.stability_every=0"};
  Running running(folder, plumb_line(1, sweep_line(folder, steps)));
  const std::string metrics = folder / "runs/seed=1/metrics.jsonl";
  for (int i = 0; i < 2000 && (!fs::exists(metrics) || fs::file_size(metrics) == 0); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  kill(running.id(), SIGINT);
  const Outcome stopped = running.wait(120);
  EXPECT_EQ(stopped.status, 128 + SIGINT) << stopped.text();
  EXPECT_THAT(stopped.out, HasSubstr("stopped; the same line goes on"));
  EXPECT_EQ(left_after(folder / "runs/cells", 10), 0u) << "no run is left behind";
  const json cells = sweep_json(folder)["cells"];
  EXPECT_EQ(cells[0]["state"], "begun");
  EXPECT_EQ(cells[1]["state"], "new");
  const auto step = cells[0]["step"].get<std::int64_t>();
  EXPECT_GT(step, 0);
  EXPECT_LT(step, 3000);

  const Outcome again = run_sweep(folder, steps);
  ASSERT_EQ(again.status, 0) << again.text();
  EXPECT_EQ(losses_of(folder / "runs/seed=1").size(), 3000u);
  EXPECT_THAT(read_file(folder / "runs/output/seed=1.txt"),
              HasSubstr("going on after step " + std::to_string(step)));
}

TEST(Sweep, DryRunAndSlurmTrainNothing) {
  const Folder folder;
  write_sweep(folder, kTwoByTwo);
  const Outcome dry = run_sweep(folder, {"--dry-run"});
  EXPECT_EQ(dry.status, 0) << dry.text();
  EXPECT_THAT(dry.out, HasSubstr("4 cells in " + (folder / "runs")));
  EXPECT_FALSE(fs::exists(folder / "runs"));

  const Outcome slurm = run_sweep(folder, {"--slurm"});
  EXPECT_EQ(slurm.status, 0) << slurm.text();
  write_file(folder / "array.sh", slurm.out);
  EXPECT_EQ(Running(folder, {"bash", "-n", folder / "array.sh"}).wait().status, 0) << slurm.out;
  // As Slurm would run the third line, with a stand-in for launch/slurm.sh.
  fs::create_directories(folder.path() / "launch");
  write_file(folder / "launch/slurm.sh", "#!/bin/sh\necho \"$@\"\n");
  fs::permissions(folder / "launch/slurm.sh", fs::perms::owner_all);
  const Outcome task = Running(folder, {"bash", "-c", "cd " + folder.path().string() + " && bash array.sh"},
                               {"SLURM_ARRAY_TASK_ID=2"})
                           .wait();
  EXPECT_EQ(task.out, (folder / "runs/cells/post_learning_rate=0.001.toml") + "\n") << task.text();
  EXPECT_EQ(run_plumb(folder, 1, {"train", folder / "runs/cells/post_learning_rate=0.001.toml"}).status, 0);
  EXPECT_THAT(run_sweep(folder, {"--dry-run"}).out, ::testing::ContainsRegex("post +0.001 +finished"));
}

TEST(Sweep, RunsUnderALauncher) {
  const Folder folder;
  write_sweep(folder, "[sweep]\ntraining.seed = [1]\n");
  const Outcome outcome = run_sweep(
      folder, {"--launcher", "mpirun -np 2 --oversubscribe --bind-to none", "--set", "log.ranks_every=1"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(read_file(folder / "runs/output/seed=1.txt"), HasSubstr("2 rank(s)"));
}

TEST(Sweep, FaultsGiveOneLineAndStartNothing) {
  const Folder folder;
  struct Case {
    std::string sweep, expected;
  };
  const std::vector<Case> cases = {
      {"", "there is no table [sweep]"},
      {"[sweep]\nmodel.placment = [\"pre\"]\n",
       "study.toml:22: unknown key 'model.placment'; did you mean 'model.placement'?"},
      {"[sweep]\nmodel.heads = [2, 3]\n", "study.toml:22"},
  };
  for (const Case& wrong : cases) {
    write_sweep(folder, wrong.sweep);
    const Outcome outcome = run_sweep(folder);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    EXPECT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, HasSubstr(wrong.expected));
    EXPECT_FALSE(fs::exists(folder / "runs"));
  }
}

}  // namespace
}  // namespace plumb::test

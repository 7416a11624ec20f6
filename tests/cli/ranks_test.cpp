// Under mpirun: a killed rank, a signal, a wrong command line, and plain output.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <thread>

#include "tiny_run.h"

namespace plumb::test {
namespace {
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

std::string this_host() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// Waits until the run has logged some steps; false when it does not within 30 s.
bool trains(const Folder& folder) {
  for (int i = 0; i < 3000; ++i) {
    if (lines_of(read_file(folder / "run/metrics.jsonl")).size() > 5) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// The process of a rank that trains in this folder; -1 when there is none.
pid_t process_of_rank(const Folder& folder, const std::string& rank) {
  for (const pid_t process : processes_with(folder.path().string())) {
    if (variable_of(process, "OMPI_COMM_WORLD_RANK") == rank) return process;
  }
  return -1;
}

std::vector<std::string> endless(const Folder& folder) {
  return {"train", folder / "config.toml",  "--set", "training.steps=1000000000",
          "--set", "log.console_every=1000"};
}

TEST(Ranks, AKilledRankEndsTheOthersAndIsNamed) {
  const Folder folder;
  write_tiny_run(folder);
  Running run(folder, plumb_line(4, endless(folder)));
  ASSERT_TRUE(trains(folder));
  const pid_t victim = process_of_rank(folder, "2");
  ASSERT_GT(victim, 0);
  kill(victim, SIGKILL);
  const Outcome outcome = run.wait(30);
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_NE(outcome.status, 0);
  // mpirun's own words, on one line.
  EXPECT_THAT(outcome.out + outcome.error,
              ContainsRegex("process rank 2 with PID [0-9]+ on node " + this_host() + " exited on signal 9"))
      << outcome.text();
  EXPECT_EQ(left_after(folder.path().string(), 10), 0u);
}

TEST(Ranks, Sigusr1SavesAndEndsAllAndTheRunGoesOn) {
  const Folder folder;
  write_tiny_run(folder);
  Running run(folder, plumb_line(2, endless(folder)));
  ASSERT_TRUE(trains(folder));
  kill(run.id(), SIGUSR1);
  const Outcome outcome = run.wait(30);
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("stopped after"));
  EXPECT_EQ(left_after(folder.path().string(), 10), 0u);
  const std::size_t steps = lines_of(read_file(folder / "run/metrics.jsonl")).size();

  std::vector<std::string> arguments = endless(folder);
  arguments.insert(arguments.end(), {"--resume", "auto"});
  Running again(folder, plumb_line(2, arguments));
  for (int i = 0; i < 3000 && lines_of(read_file(folder / "run/metrics.jsonl")).size() <= steps; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  kill(again.id(), SIGUSR1);
  const Outcome resumed = again.wait(30);
  EXPECT_EQ(resumed.status, 0) << resumed.text();
  EXPECT_THAT(resumed.out, HasSubstr("going on after step " + std::to_string(steps) + " of"));
  EXPECT_GT(lines_of(read_file(folder / "run/metrics.jsonl")).size(), steps);
}

TEST(Ranks, ADamagedCheckpointIsPassedOverByAllAndNamedOnce) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1, {"--set", "checkpoint.every=3"}).status, 0);
  const std::string file = folder / "run/checkpoints/step_00000006/model.safetensors";
  std::string bytes = read_file(file);
  bytes[bytes.size() - 50] = static_cast<char>(bytes[bytes.size() - 50] ^ 4);
  write_file(file, bytes);
  const Outcome outcome = train_tiny(folder, 2, {"--set", "checkpoint.every=3", "--resume", "auto"});
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("going on after step 3 of"));
  ASSERT_EQ(outcome.plumb_lines().size(), 2u) << outcome.text();
  EXPECT_THAT(outcome.plumb_lines()[0], HasSubstr("passing over a damaged checkpoint: " + file));
  EXPECT_THAT(outcome.plumb_lines()[1], HasSubstr("removed " + (folder / "run/checkpoints/step_00000006")));
}

TEST(Ranks, FourRanksTrainAndPrintPlainLines) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome = train_tiny(folder, 4);
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  // A rank under mpirun writes to a pseudo-terminal; mpirun here writes to a file.
  EXPECT_THAT(outcome.out, Not(HasSubstr("\r")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(outcome.out, HasSubstr("\nstep 2/6 "));
  EXPECT_THAT(outcome.out, Not(HasSubstr("step 3/6")));
  EXPECT_THAT(outcome.out, HasSubstr("4 rank(s)"));
}

TEST(Ranks, AWrongCommandLineGivesOneLine) {
  const Folder folder;
  write_tiny_run(folder);
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"trian", folder / "config.toml"}, "did you mean 'train'"},
      {{"train", folder / "config.toml", "--bogus"}, "--bogus"},
      {{"dump", folder / "config.toml"}, "plumb dump runs on one rank"},
      {{"generate", folder / "run"}, "plumb generate runs on one rank"},
      {{"data", "prepare", folder / "config.toml", "--output", folder / "prepared"},
       "plumb data prepare runs on one rank"},
      {{"data", "describe", folder / "train.bin", folder / "validation.bin"},
       "plumb data describe runs on one rank"},
      {{"data", "synthesize", "--output", folder / "text"}, "plumb data synthesize runs on one rank"},
      {{"placements"}, "plumb placements runs on one rank"},
      {{"eval", folder / "run"}, "no checkpoint here"}};
  for (const auto& [arguments, expected] : cases) {
    const Outcome outcome = run_plumb(folder, 2, arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    ASSERT_EQ(outcome.plumb_lines().size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.plumb_lines()[0], HasSubstr(expected));
    EXPECT_EQ(left_after(folder.path().string(), 10), 0u);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "prepared"));
  EXPECT_FALSE(std::filesystem::exists(folder / "text"));
}

/// The whole number that stands right before `words`; -1 where there is none.
int number_before(const std::string& text, const std::string& words) {
  const std::size_t end = text.find(words);
  if (end == std::string::npos || end == 0) return -1;
  const std::size_t last_other = text.find_last_not_of("0123456789", end - 1);
  const std::string digits = text.substr(last_other + 1, end - last_other - 1);
  return digits.empty() ? -1 : std::stoi(digits);
}

TEST(Ranks, RanksThatMayRunOnTheSameCoresShareThem) {
  const Folder folder;
  const auto threads = [&](int ranks) {
    const Outcome outcome = run_plumb(folder, ranks, {"doctor"});
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    return std::array{number_before(outcome.out, " usable by this rank"),
                      number_before(outcome.out, " thread(s) per rank")};
  };
  const auto [cores, alone] = threads(1);
  EXPECT_GT(cores, 0);
  EXPECT_EQ(alone, cores);
  const auto [cores_of_two, each] = threads(2);
  EXPECT_EQ(cores_of_two, cores) << "mpirun --bind-to none leaves the mask alone";
  EXPECT_EQ(each, std::max(1, cores / 2));
}

TEST(Ranks, HelpAndVersionAreSaidOnce) {
  const Folder folder;
  const Outcome version = run_plumb(folder, 3, {"--version"});
  EXPECT_EQ(version.status, 0) << version.text();
  EXPECT_EQ(lines_of(version.out).size(), 1u) << version.text();
}

TEST(Ranks, JobsOfOneRankAreCaught) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome = run_plumb(folder, 1, {"train", folder / "config.toml"},
                                    {"OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK=0"});
  EXPECT_EQ(outcome.status, 2) << outcome.text();
  ASSERT_EQ(outcome.plumb_lines().size(), 1u) << outcome.text();
  EXPECT_THAT(outcome.plumb_lines()[0], HasSubstr("4 one-rank jobs"));
}

}  // namespace
}  // namespace plumb::test

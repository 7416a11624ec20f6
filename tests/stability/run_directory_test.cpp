// Opening a run directory: fresh, taken, replaced, resumed; torn and damaged logs; places that refuse.
#include "stability/run_directory.h"

#include <gmock/gmock.h>

#include "checkpoint/temporary_folder.h"

namespace plumb {
namespace {

using plumb::testing::input_error_of;
using plumb::testing::read_bytes;
using plumb::testing::TemporaryFolder;
using plumb::testing::write_bytes;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

void expect_one_line(const std::string& message) { EXPECT_THAT(message, Not(HasSubstr("\n"))); }

TEST(RunDirectory, FreshFolderGetsConfigAndManifest) {
  const TemporaryFolder folder;
  const auto run = folder.path() / "deep" / "run";
  open_run_directory(run, {}, "steps = 3\n", "{}\n");
  EXPECT_EQ(read_bytes(run / "config.toml"), "steps = 3\n");
  EXPECT_EQ(read_bytes(run / "manifest.json"), "{}\n");
}

TEST(RunDirectory, AnEarlierRunIsNeverTakenForAFreshFolder) {
  const TemporaryFolder folder;
  open_run_directory(folder.path(), {}, "old", "old");
  const std::string message = input_error_of([&] { open_run_directory(folder.path(), {}, "new", "new"); });
  EXPECT_THAT(message, AllOf(HasSubstr(folder.path().string()), HasSubstr("run.overwrite"),
                             HasSubstr("--resume auto")));
  expect_one_line(message);
  EXPECT_EQ(read_bytes(folder.path() / "config.toml"), "old");
}

TEST(RunDirectory, OverwriteRemovesTheRunAndNothingElse) {
  const TemporaryFolder folder;
  open_run_directory(folder.path(), {}, "old", "old");
  std::filesystem::create_directories(folder.path() / "checkpoints" / "step_00000005");
  write_bytes(folder.path() / "metrics.jsonl", "{\"step\":1}\n");
  write_bytes(folder.path() / "notes.txt", "mine");
  open_run_directory(folder.path(), {.overwrite = true}, "new", "new");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "metrics.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "checkpoints"));
  EXPECT_EQ(read_bytes(folder.path() / "notes.txt"), "mine");
  EXPECT_EQ(read_bytes(folder.path() / "config.toml"), "new");
}

TEST(RunDirectory, OnlyARunWithoutAStepIsStartedAnew) {
  const TemporaryFolder folder;
  const RunDirectoryOptions options = {.restart_empty = true};
  open_run_directory(folder.path(), options, "old", "old");
  write_bytes(folder.path() / "metrics.jsonl", "");
  write_bytes(folder.path() / "stability.jsonl", "{\"kind\":\"header\"}\n");
  std::filesystem::create_directories(folder.path() / "checkpoints");
  open_run_directory(folder.path(), options, "new", "new");
  EXPECT_EQ(read_bytes(folder.path() / "config.toml"), "new");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "stability.jsonl"));

  const auto refusal = [&] {
    return input_error_of([&] { open_run_directory(folder.path(), options, "newer", "newer"); });
  };
  const auto refused = AllOf(HasSubstr(folder.path().string()), HasSubstr("no checkpoint"),
                             HasSubstr("run.overwrite"), Not(HasSubstr("\n")));
  write_bytes(folder.path() / "metrics.jsonl", "{\"step\":1}\n");
  EXPECT_THAT(refusal(), refused);
  std::filesystem::remove(folder.path() / "metrics.jsonl");
  std::filesystem::create_directories(folder.path() / "checkpoints" / "step_00000005");
  EXPECT_THAT(refusal(), refused);
  EXPECT_EQ(read_bytes(folder.path() / "config.toml"), "new");
}

TEST(RunDirectory, ResumeCutsEveryLogAtTheCheckpoint) {
  const TemporaryFolder folder;
  open_run_directory(folder.path(), {}, "old", "old");
  write_bytes(folder.path() / "metrics.jsonl", "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
  write_bytes(folder.path() / "stability.jsonl", "{\"kind\":\"header\"}\n{\"step\":2}\n{\"step\":4}\n");
  write_bytes(folder.path() / "ranks.jsonl", "{\"step\":3}\n");
  open_run_directory(folder.path(), {.resume_step = 2}, "new", "new");
  EXPECT_EQ(read_bytes(folder.path() / "metrics.jsonl"), "{\"step\":1}\n{\"step\":2}\n");
  EXPECT_EQ(read_bytes(folder.path() / "stability.jsonl"), "{\"kind\":\"header\"}\n{\"step\":2}\n");
  EXPECT_EQ(read_bytes(folder.path() / "ranks.jsonl"), "");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "events.jsonl"));
}

// Only the end of a log is read: what is damaged far before it is nothing to a run that goes back.
TEST(RunDirectory, LogsAreRolledBackFromTheirEnds) {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "metrics.jsonl",
              "torn\n{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"step\":4}\n");
  write_bytes(folder.path() / "stability.jsonl", "{\"kind\":\"header\"}\n{\"step\":3}\n");
  write_bytes(folder.path() / "events.jsonl", "{\"step\":3}\n{\"step\":3}\n");
  write_bytes(folder.path() / "ranks.jsonl", "{\"step\":2}\n");
  roll_logs_back(folder.path(), 2);
  EXPECT_EQ(read_bytes(folder.path() / "metrics.jsonl"), "torn\n{\"step\":1}\n{\"step\":2}\n");
  EXPECT_EQ(read_bytes(folder.path() / "stability.jsonl"), "{\"kind\":\"header\"}\n");
  EXPECT_EQ(read_bytes(folder.path() / "events.jsonl"), "");
  EXPECT_EQ(read_bytes(folder.path() / "ranks.jsonl"), "{\"step\":2}\n");
  const std::string aside = "{\"step\":3}\n{\"step\":4}\n{\"step\":3}\n{\"step\":3}\n";
  EXPECT_EQ(read_bytes(folder.path() / "rolled_back.jsonl"), aside);
  write_bytes(folder.path() / "metrics.jsonl", "{\"step\":1}\n\n");
  EXPECT_THAT(input_error_of([&] { roll_logs_back(folder.path(), 2); }), HasSubstr("metrics.jsonl"));
}

TEST(RunDirectory, ATornLastLineIsDropped) {
  const TemporaryFolder folder;
  const auto log = folder.path() / "metrics.jsonl";
  for (const char* torn : {"{\"step\":3,\"lo", "{\"step\":3}", "{\"step\":3,\"lo\n", "\n", "\0\0\0"}) {
    write_bytes(log, std::string("{\"step\":1}\n{\"step\":2}\n") + torn);
    EXPECT_EQ(truncate_log(log, 10), 2) << torn;
    EXPECT_EQ(read_bytes(log), "{\"step\":1}\n{\"step\":2}\n") << torn;
  }
  write_bytes(log, "");
  EXPECT_EQ(truncate_log(log, 10), std::nullopt);
  EXPECT_EQ(truncate_log(folder.path() / "absent.jsonl", 10), std::nullopt);
}

TEST(RunDirectory, ADamagedLineIsNamed) {
  const TemporaryFolder folder;
  open_run_directory(folder.path(), {}, "old", "old");
  write_bytes(folder.path() / "metrics.jsonl", "{\"step\":1}\n{\"ste\n{\"step\":3}\n");
  const std::string message =
      input_error_of([&] { open_run_directory(folder.path(), {.resume_step = 3}, "new", "new"); });
  EXPECT_THAT(message, HasSubstr("metrics.jsonl:2:"));
  expect_one_line(message);
}

TEST(RunDirectory, PlacesThatRefuse) {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "file", "");
  for (const auto& place : {folder.path() / "file", folder.path() / "file" / "run",
                            std::filesystem::path("/proc/plumb_run"), std::filesystem::path("/proc")}) {
    const std::string message = input_error_of([&] { open_run_directory(place, {}, "config", "manifest"); });
    EXPECT_THAT(message, AllOf(HasSubstr("run.dir"), HasSubstr(place.string()))) << place;
    expect_one_line(message);
  }
}

}  // namespace
}  // namespace plumb

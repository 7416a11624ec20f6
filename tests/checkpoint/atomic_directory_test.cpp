#include "checkpoint/atomic_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "core/system_calls.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::SystemCalls;
using testing::TemporaryFolder;
using testing::write_bytes;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(StepDirectory, Names) {
  EXPECT_EQ(step_directory_name(0), "step_00000000");
  EXPECT_EQ(step_directory_name(1000), "step_00001000");
  EXPECT_EQ(step_directory_name(1234567890), "step_1234567890");
  EXPECT_THROW(step_directory_name(-1), Error);

  EXPECT_EQ(step_of_directory_name("step_00001000"), 1000);
  EXPECT_EQ(step_of_directory_name("step_1234567890"), 1234567890);
  for (const char* other : {"", "step_", "step_1000", "step_0000100x", "step_-0001000", "step_000001000",
                            ".step_00001000.partial", "step_00001000.old", "step_99999999999999999999"}) {
    EXPECT_FALSE(step_of_directory_name(other)) << other;
  }
}

TEST(StepDirectory, ListIsNumericallyAscendingAndOfFoldersOnly) {
  TemporaryFolder folder;
  for (const char* name :
       {"step_100000000", "step_00000020", "step_00000003", ".step_00000099.partial", "other"}) {
    fs::create_directories(folder.path() / name);
  }
  write_bytes(folder.path() / "step_00000050", "a file");
  std::vector<std::int64_t> steps;
  for (const StepDirectory& found : list_step_directories(folder.path())) steps.push_back(found.step);
  EXPECT_THAT(steps, ElementsAre(3, 20, 100000000));
  EXPECT_TRUE(list_step_directories(folder.path() / "absent").empty());
}

TEST(AtomicDirectory, AppearsOnlyAtCommit) {
  TemporaryFolder folder;
  const fs::path target = folder.path() / "new" / "step_00000001";
  AtomicDirectory directory(target);
  EXPECT_EQ(directory.working_path().filename(), ".step_00000001.partial");
  fs::create_directories(directory.working_path() / "inner");
  write_bytes(directory.working_path() / "inner" / "file", "content");
  EXPECT_FALSE(fs::exists(target));
  directory.commit();
  EXPECT_THAT(names_in(folder.path() / "new"), ElementsAre("step_00000001"));
  EXPECT_EQ(read_bytes(target / "inner" / "file"), "content");
}

TEST(AtomicDirectory, WithoutCommitLeavesNothingAndTheOldOneAsItWas) {
  TemporaryFolder folder;
  const fs::path target = folder.path() / "x";
  fs::create_directories(target);
  write_bytes(target / "file", "old");
  {
    AtomicDirectory directory(target);
    write_bytes(directory.working_path() / "file", "new");
  }
  EXPECT_THAT(names_in(folder.path()), ElementsAre("x"));
  EXPECT_EQ(read_bytes(target / "file"), "old");
}

TEST(AtomicDirectory, CommitReplaces) {
  TemporaryFolder folder;
  const fs::path target = folder.path() / "x";
  fs::create_directories(target);
  write_bytes(target / "only_in_the_old", "old");
  AtomicDirectory directory(target);
  write_bytes(directory.working_path() / "file", "new");
  directory.commit();
  EXPECT_THAT(names_in(folder.path()), ElementsAre("x"));
  EXPECT_THAT(names_in(target), ElementsAre("file"));
}

TEST(AtomicDirectory, ARefusedReplacementPutsTheOldOneBack) {
  TemporaryFolder folder;
  const fs::path target = folder.path() / "x";
  fs::create_directories(target);
  write_bytes(target / "file", "old");
  {
    AtomicDirectory directory(target);
    write_bytes(directory.working_path() / "file", "new");
    SystemCalls calls;
    calls.fail_rename(1);  // the first one moves the old folder aside
    EXPECT_THROW(directory.commit(), Error);
  }
  EXPECT_THAT(names_in(folder.path()), ElementsAre("x"));
  EXPECT_EQ(read_bytes(target / "file"), "old");
}

TEST(AtomicDirectory, StartsEmptyWhereACrashLeftAPartialFolder) {
  TemporaryFolder folder;
  fs::create_directories(folder.path() / ".x.partial");
  write_bytes(folder.path() / ".x.partial" / "stale", "stale");
  AtomicDirectory directory(folder.path() / "x");
  EXPECT_TRUE(names_in(directory.working_path()).empty());
}

TEST(AtomicDirectory, CleanupUndoesEveryInterruptedStage) {
  TemporaryFolder folder;
  const auto make = [&](const char* name, const char* content) {
    fs::create_directories(folder.path() / name);
    write_bytes(folder.path() / name / "file", content);
  };
  make("step_00000001", "one");
  make(".step_00000002.partial", "half written");
  // Crashed between the two renames of a replacement: the old one must come back.
  make(".step_00000003.replaced", "three");
  make(".step_00000003.partial", "three again");
  // Crashed after them: the new one is in place.
  make("step_00000004", "new four");
  make(".step_00000004.replaced", "old four");
  make(".partial", "not ours");

  const auto actions = clean_atomic_leftovers(folder.path());
  EXPECT_THAT(actions, ::testing::UnorderedElementsAre(
                           HasSubstr("removed"), HasSubstr("removed"), HasSubstr("removed"),
                           ::testing::AllOf(HasSubstr("restored"), HasSubstr("step_00000003"))));
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre(".partial", "step_00000001", "step_00000003", "step_00000004"));
  EXPECT_EQ(read_bytes(folder.path() / "step_00000003" / "file"), "three");
  EXPECT_EQ(read_bytes(folder.path() / "step_00000004" / "file"), "new four");
  EXPECT_TRUE(clean_atomic_leftovers(folder.path()).empty()) << "a second call finds nothing";
  EXPECT_TRUE(clean_atomic_leftovers(folder.path() / "absent").empty());
}

}  // namespace
}  // namespace plumb

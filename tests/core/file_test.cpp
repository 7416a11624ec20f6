#include "core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "core/system_calls.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::input_error_of;
using testing::read_bytes;
using testing::SystemCalls;
using testing::TemporaryFolder;
using testing::write_bytes;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(FileWriter, ReplacesOrAppends) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_bytes(path, "old and longer");
  {
    FileWriter writer(path);
    writer.write("ab");
    writer.finish();
  }
  EXPECT_EQ(read_bytes(path), "ab");
  {
    FileWriter first(path, WriteMode::Append);
    FileWriter second(std::move(first));
    second.write("");
    second.write("cd");
  }
  EXPECT_EQ(read_bytes(path), "abcd");
}

TEST(FileWriter, TellsAWrongPlaceFromAFullDisk) {
  const TemporaryFolder folder;
  EXPECT_THAT(input_error_of([&] { FileWriter writer(folder.path() / "absent" / "file"); }),
              HasSubstr("absent/file: No such file"));
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  FileWriter full("/dev/full", WriteMode::Append);
  try {
    full.write("x");
    FAIL() << "a lost byte went unnoticed";
  } catch (const InputError&) {
    FAIL() << "a full disk is nobody's input";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("/dev/full: No space left"));
  }
  EXPECT_NO_THROW(full.sync()) << "a device that knows no fsync";
}

TEST(MappedFile, HoldsTheBytesAndMoves) {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "file", std::string("a\0b", 3));
  write_bytes(folder.path() / "empty", "");
  MappedFile file(folder.path() / "file");
  EXPECT_EQ(file.text(), std::string_view("a\0b", 3));
  MappedFile moved(folder.path() / "empty");
  EXPECT_EQ(moved.bytes(), 0U);
  moved = std::move(file);
  EXPECT_EQ(moved.text(), std::string_view("a\0b", 3));
  EXPECT_EQ(moved.path(), folder.path() / "file");
  EXPECT_THAT(input_error_of([&] { MappedFile other(folder.path()); }), HasSubstr("not a regular file"));
  EXPECT_THAT(input_error_of([&] { MappedFile other(folder.path() / "absent"); }), HasSubstr("No such file"));
}

TEST(ReadWholeFile, ReadsAllOrSaysWhy) {
  const TemporaryFolder folder;
  std::string text(200'001, 'x');
  text[70'000] = '\0';
  write_bytes(folder.path() / "file", text);
  EXPECT_EQ(read_whole_file(folder.path() / "file"), text);
  EXPECT_THAT(input_error_of([&] { (void)read_whole_file(folder.path()); }), HasSubstr("not a regular file"));
  if (!fs::exists("/proc/self/mem")) GTEST_SKIP() << "needs /proc/self/mem";
  // A regular file whose first byte cannot be read.
  EXPECT_THAT(input_error_of([] { (void)read_whole_file("/proc/self/mem"); }), HasSubstr("Input/output"));
}

TEST(WriteWholeFile, IsOnTheDiskBeforeItHasItsNameAndTheNameBeforeTheReturn) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_bytes(path, "old");
  const SystemCalls calls;
  write_whole_file(path, {bytes_of("one "), bytes_of(""), bytes_of("two")});
  EXPECT_THAT(calls.since_start(folder.path().string()),
              ElementsAre("sync file.partial", "rename file.partial file", "sync ."));
  EXPECT_EQ(read_bytes(path), "one two");
}

TEST(WriteWholeFile, LeavesTheOldFileWhenItFails) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "file";
  write_bytes(path, "old");
  SystemCalls calls;
  calls.fail_rename(0);
  EXPECT_THAT(error_of([&] { write_whole_file(path, {bytes_of("new")}); }), HasSubstr("Input/output error"));
  EXPECT_EQ(read_bytes(path), "old");
  EXPECT_FALSE(fs::exists(folder.path() / "file.partial"));
}

TEST(CreateFolders, SyncsTheParentOfEveryNewFolder) {
  const TemporaryFolder folder;
  const SystemCalls calls;
  create_folders(folder.path() / "a" / "b" / "c");
  EXPECT_TRUE(is_folder(folder.path() / "a" / "b" / "c"));
  EXPECT_THAT(calls.since_start(folder.path().string()), ElementsAre("sync .", "sync a", "sync a/b"));
  create_folders(folder.path() / "a" / "b");
  create_folders(folder.path() / "a" / "d" / "");
  EXPECT_TRUE(is_folder(folder.path() / "a" / "d"));
  write_bytes(folder.path() / "file", "");
  EXPECT_THAT(input_error_of([&] { create_folders(folder.path() / "file" / "x"); }),
              HasSubstr("cannot create folder"));
  EXPECT_THAT(input_error_of([&] { create_folders(folder.path() / "file"); }),
              HasSubstr("cannot create folder"));
  EXPECT_THAT(input_error_of([] { create_folders(""); }), HasSubstr("cannot create folder"));
}

TEST(ListFolder, SortsAndSaysWhatIsNoFolder) {
  const TemporaryFolder folder;
  for (const char* name : {"b", "c", "a"}) write_bytes(folder.path() / name, "");
  EXPECT_THAT(list_folder(folder.path()),
              ElementsAre(folder.path() / "a", folder.path() / "b", folder.path() / "c"));
  EXPECT_TRUE(list_folder(folder.path() / "absent").empty());
  fs::create_symlink("loop", folder.path() / "loop");
  EXPECT_FALSE(is_folder(folder.path() / "loop"));
  for (const char* name : {"a", "loop"}) {
    EXPECT_THAT(input_error_of([&] { (void)list_folder(folder.path() / name); }),
                HasSubstr("cannot list folder"));
  }
}

TEST(ParentFolder, IsNeverEmpty) {
  EXPECT_EQ(parent_folder("a/b"), "a");
  EXPECT_EQ(parent_folder("a"), ".");
  EXPECT_EQ(parent_folder("/a"), "/");
}

}  // namespace
}  // namespace plumb

// The revision that a build writes down is that of the tree at build time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Revision : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_.path() / "tree");
    if (git({"init", "--quiet"}).status != 0) GTEST_SKIP() << "there is no git here";
    write_file(folder_ / "tree/file", "one\n");
    commit();
  }

  Outcome git(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"git", "-C", folder_ / "tree", "-c", "user.name=a", "-c", "user.email=a@b"});
    return Running(folder_, arguments).wait();
  }
  void commit() {
    ASSERT_EQ(git({"add", "file"}).status, 0);
    ASSERT_EQ(git({"commit", "--quiet", "--message", "x"}).status, 0);
  }
  /// The header after a build.
  std::string build() {
    const Outcome outcome =
        Running(folder_, {PLUMB_CMAKE, "-DSOURCE=" + folder_ / "tree", "-DOUTPUT=" + header_, "-P",
                          std::string(PLUMB_SOURCE_DIR) + "/trainers/revision.cmake"})
            .wait();
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    return read_file(header_);
  }
  std::string head() { return lines_of(git({"rev-parse", "--short", "HEAD"}).out).at(0); }

  Folder folder_;
  const std::string header_ = folder_ / "generated/revision.h";
};

TEST_F(Revision, FollowsTheTreeFromBuildToBuild) {
  EXPECT_THAT(build(), HasSubstr("PLUMB_GIT_REVISION \"" + head() + "\""));
  write_file(folder_ / "tree/file", "two\n");
  EXPECT_THAT(build(), HasSubstr("\"" + head() + "-dirty\""));
  const std::string before = head();
  commit();
  ASSERT_NE(head(), before);
  EXPECT_THAT(build(), HasSubstr("\"" + head() + "\""));
}

TEST_F(Revision, AnUnchangedOneIsNotWrittenAgain) {
  build();
  const auto long_ago = fs::last_write_time(header_) - std::chrono::hours(1);
  fs::last_write_time(header_, long_ago);
  build();
  EXPECT_EQ(fs::last_write_time(header_), long_ago);
}

TEST_F(Revision, OutsideACheckoutItIsUnknown) {
  fs::remove_all(folder_.path() / "tree/.git");
  EXPECT_THAT(build(), HasSubstr("\"unknown\""));
}

}  // namespace
}  // namespace plumb::test

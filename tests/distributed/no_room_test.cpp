// Runs where /dev/shm is too small for what ranks of a host share, as in a container.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using Settings = std::vector<std::string>;
using plumb::testing::TemporaryFolder;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kNoneAtAll = "gradients go by messages inside a host";
constexpr const char* kNoneForGradients = "of shared memory for 'gradient memory' are not to be had";

/// The command line in a mount namespace of its own whose /dev/shm has so many MiB.
std::string with_small_memory(const std::filesystem::path& folder, int megabytes,
                              const std::string& command) {
  const std::filesystem::path script = folder / "small.sh";
  testing::write_bytes(script,
                       fmt::format("mount -t tmpfs -o size={}m none /dev/shm && {}\n", megabytes, command));
  return fmt::format("unshare --mount sh {}", script.string());
}

class NoRoom : public ::testing::Test {
 protected:
  void SetUp() override {
    if (shell(with_small_memory(folder.path(), 1, "true")).status != 0)
      GTEST_SKIP() << "no namespaces for mounts here";
  }
  /// Two ranks; 0 MiB: with the memory that there is. What the run said.
  std::string run(const std::string& name, int megabytes, const Settings& further) {
    const std::filesystem::path config = write_config(folder.path());
    const Settings settings = {"training.steps=3"};
    const std::string command = mpirun(2, PLUMB_PROGRAM) +
                                fmt::format(" train {} --set run.dir={}{}{}", config.string(),
                                            path(name).string(), set_options(settings), set_options(further));
    const Outcome outcome =
        shell(megabytes == 0 ? command : with_small_memory(folder.path(), megabytes, command));
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    return outcome.output;
  }
  std::filesystem::path path(const std::string& name) const { return folder.path() / name; }

  TemporaryFolder folder;
};

TEST_F(NoRoom, ForAnythingSumsGoByMessages) {
  const std::string said = run("small", 2, {}),
                    plain = run("messages", 0, {"communication.shared_memory=false"});
  EXPECT_THAT(said, HasSubstr(kNoneAtAll));
  EXPECT_THAT(plain, Not(HasSubstr(kNoneAtAll)));
  expect_same_logs(path("small"), path("messages"));
}

/// 3.6 M parameters: 2 x 14 MiB of gradients.
TEST_F(NoRoom, ForGradientsTheyAreCopied) {
  const Settings large = {"model.width=384"};
  const std::string said = run("small", 20, large), plain = run("shared", 0, large);
  EXPECT_THAT(said, HasSubstr(kNoneForGradients));
  EXPECT_THAT(said, Not(HasSubstr(kNoneAtAll)));
  EXPECT_THAT(plain, Not(HasSubstr(kNoneForGradients)));
  expect_same_logs(path("small"), path("shared"));
}

}  // namespace
}  // namespace plumb::distributed

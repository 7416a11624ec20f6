// launch/gpu_acceptance.sh over a build whose programs are scripts: what it takes, skips, refuses and
// reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace plumb::gpu {
namespace {
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Outcome {
  int status = -1;
  std::string output;  ///< both streams
};

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class AcceptanceScript : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(build() / "lib");
    std::ofstream(build() / "lib/libplumb_cuda.so");
    program("trainers/plumb", R"sh(
case "$*" in
  --version) echo "plumb 0.1.0 (revision $FAKE_REVISION; GNU)" ;;
  "doctor --gpus") echo $FAKE_GPUS; [ -n "$FAKE_GPUS" ] ;;
  doctor) echo "$FAKE_FINDING" ;;
esac
)sh");
    for (const char* test : {"tests/backend/test_backend", "tests/golden/test_golden",
                             "tests/gpu/test_gpu_training", "tests/comm/test_comm_device"})
      program(test, "echo '[  PASSED  ] 3 tests.'\n");
    program("tests/gpu/training_speed", "echo a table of speed\n");
    program("tests/gpu/kernel_times", "echo a table of kernels\n");
    program("bin/mpirun", "echo mpirun \"$@\"\n");
    environment("PATH", (build() / "bin").string() + ":" + std::getenv("PATH"));
    environment("FAKE_REVISION", "abc1234");
    environment("FAKE_GPUS", "3");
    environment("FAKE_FINDING", "ok    backend cuda      a GPU");
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path build() const { return folder_ / "made elsewhere"; }
  void environment(const std::string& name, const std::string& value) {
    environment_ += name + "='" + value + "' ";
  }
  void program(const std::string& name, const std::string& text) {
    const fs::path path = build() / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/bash\n" << text;
    fs::permissions(path, fs::perms::owner_all);
  }
  Outcome run(const std::string& arguments) {
    const std::string command = "cd '" + folder_.string() + "' && " + environment_ + PLUMB_SOURCE_DIR +
                                "/launch/gpu_acceptance.sh " + arguments + " 2>&1";
    Outcome outcome;
    std::FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> part;
    while (pipe && std::fgets(part.data(), static_cast<int>(part.size()), pipe))
      outcome.output += part.data();
    outcome.status = WEXITSTATUS(pclose(pipe));
    return outcome;
  }
  Outcome run() { return run("--build-dir 'made elsewhere' --output out"); }
  std::string report() const { return read(folder_ / "out/acceptance.md"); }

 private:
  fs::path folder_ = fs::temp_directory_path() / ("plumb_acceptance_" + std::to_string(getpid()));
  std::string environment_;
};

TEST_F(AcceptanceScript, RunsEverythingOfABuildThatIsNamedRelativelyOrAbsolutely) {
  for (const std::string& name : {std::string("made elsewhere"), build().string()}) {
    const Outcome outcome = run("--build-dir '" + name + "' --output out");
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    for (const char* row :
         {"| golden models | passed (3 tests) |", "| training equals reference | passed (3 tests)",
          "a table of speed", "a table of kernels"})
      EXPECT_THAT(report(), HasSubstr(row));
    EXPECT_THAT(report(), Not(HasSubstr("FAILED")));
    EXPECT_THAT(report(), Not(HasSubstr("uncommitted")));
  }
}

TEST_F(AcceptanceScript, HasARankOfNcclForEachGpuThatTheProgramSees) {
  EXPECT_EQ(run().status, 0);
  EXPECT_THAT(report(), HasSubstr("| NCCL over all local GPUs | passed (3 rank(s)) |"));
  EXPECT_THAT(read(build() / "../out/NCCL_over_all_local_GPUs.log"),
              HasSubstr("mpirun -np 3 --oversubscribe"));
}

TEST_F(AcceptanceScript, SaysWhyNcclDidNotRun) {
  environment("FAKE_GPUS", "");
  EXPECT_EQ(run().status, 0);
  EXPECT_THAT(report(),
              HasSubstr("| NCCL over all local GPUs | not run: `plumb doctor --gpus` does not tell"));
  fs::remove(build() / "tests/comm/test_comm_device");
  EXPECT_EQ(run().status, 0);
  EXPECT_THAT(report(), HasSubstr("| NCCL over all local GPUs | not run: this build has no MPI |"));
}

TEST_F(AcceptanceScript, SaysThatTheTreeHadUncommittedChanges) {
  environment("FAKE_REVISION", "abc1234-dirty");
  EXPECT_EQ(run().status, 0);
  EXPECT_THAT(report(), HasSubstr("Built from a tree with uncommitted changes"));
}

TEST_F(AcceptanceScript, SkipsOnlyWhereNoGpuIs) {
  environment("FAKE_FINDING", "note  GPU               there is no NVIDIA driver");
  environment("FAKE_GPUS", "0");
  Outcome outcome = run();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr("skipped: there is no NVIDIA driver"));

  environment("FAKE_FINDING", "FIX   backend cuda      cannot open libplumb_cuda.so: libnccl.so.2: cannot");
  environment("FAKE_GPUS", "1");
  outcome = run();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("does not work here: cannot open libplumb_cuda.so: libnccl.so.2"));
}

TEST_F(AcceptanceScript, RefusesABuildThatCannotBeOne) {
  fs::remove(build() / "lib/libplumb_cuda.so");
  Outcome outcome = run();
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("made elsewhere has no lib/libplumb_cuda.so"));

  outcome = run("--build-dir nowhere");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.output, HasSubstr("--build-dir nowhere: there is no such folder"));
}

TEST_F(AcceptanceScript, RefusesAnOptionWithoutItsValueInOneLine) {
  for (const std::string option : {"--build-dir", "--output", "--device"}) {
    const Outcome outcome = run(option);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.output, "gpu_acceptance: " + option + " needs a value\n");
  }
}

TEST_F(AcceptanceScript, GivesEveryProgramALimit) {
  program("bin/timeout", R"sh(
shift
case "$1" in
  */training_speed | */test_golden) exit 124 ;;
  *) exec "$@" ;;
esac
)sh");
  program("tests/gpu/kernel_times", "echo no memory >&2; exit 1\n");
  EXPECT_EQ(run().status, 1);
  EXPECT_THAT(report(), AllOf(HasSubstr("| golden models | FAILED: not through after 240 seconds"),
                              HasSubstr("\nFAILED: not through after 240 seconds\n"),
                              HasSubstr("\nFAILED: no memory\n")));
}

}  // namespace
}  // namespace plumb::gpu

// What the program writes, read by the programs that it is written for. Skipped, with the reason, where those
// are not installed (launch/setup.sh --readers).
#include <gmock/gmock.h>

#include <filesystem>

#include "cli/tiny_run.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;

const std::string kScripts = std::string(PLUMB_SOURCE_DIR) + "/tests/export/";
constexpr int kNotInstalled = 77;
/// Imports of PyTorch alone take a minute on a busy machine.
constexpr double kLimit = 280;

Outcome run_script(const Folder& folder, const std::string& script,
                   const std::vector<std::string>& arguments) {
  const std::string readers = std::string(PLUMB_SOURCE_DIR) + "/build/readers/bin/python3";
  std::vector<std::string> line = {fs::exists(readers) ? readers : "/usr/bin/python3", kScripts + script};
  line.insert(line.end(), arguments.begin(), arguments.end());
  return Running(folder, line, {"TRANSFORMERS_OFFLINE=1", "TF_CPP_MIN_LOG_LEVEL=3", "OMP_NUM_THREADS=1"})
      .wait(kLimit);
}

#define SKIP_WITHOUT_READER(outcome) \
  if ((outcome).status == kNotInstalled) GTEST_SKIP() << (outcome).out

TEST(Readers, XarrayOpensTheNetcdfFileWithNamesAndUnits) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome trained = train_tiny(folder, 2, {"--set", "log.ranks_every=3"});
  ASSERT_EQ(trained.status, 0) << trained.text();
  const Outcome exported = run_plumb(folder, 1, {"export", folder / "run", "--format", "netcdf"});
  ASSERT_EQ(exported.status, 0) << exported.text();
  write_file(folder / "metrics.json", run_plumb(folder, 1, {"metrics", "--json"}).out);
  const Outcome read = run_script(folder, "read_netcdf.py",
                                  {folder / "run", folder / "run/export/logs.nc", folder / "metrics.json"});
  SKIP_WITHOUT_READER(read);
  EXPECT_EQ(read.status, 0) << read.text();
}

TEST(Readers, TensorboardSeesEveryStepOnceAcrossATornFileAndAResume) {
  const Folder folder;
  write_tiny_run(folder);
  const std::vector<std::string> settings = {"--set", "log.tensorboard=true", "--set", "checkpoint.every=3"};
  ASSERT_EQ(train_tiny(folder, 1, settings).status, 0);
  // As if it had been killed while it wrote an event of step 6, before that step's checkpoint.
  fs::remove_all(folder / "run/checkpoints/step_00000006");
  const fs::path events = fs::directory_iterator(folder / "run/tensorboard")->path();
  fs::resize_file(events, fs::file_size(events) - 9);
  std::vector<std::string> resumed = settings;
  resumed.insert(resumed.end(), {"--resume", "auto"});
  const Outcome outcome = train_tiny(folder, 1, resumed);
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  const Outcome read = run_script(folder, "read_events.py", {folder / "run"});
  SKIP_WITHOUT_READER(read);
  EXPECT_EQ(read.status, 0) << read.text();
}

TEST(Readers, TransformersGenerateTheSameText) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome trained =
      train_tiny(folder, 1,
                 {"--set", "model.placement=pre", "--set", "model.activation=gelu_tanh", "--set",
                  "model.norm.in.epsilon=1e-4", "--set", "model.norm.final.epsilon=1e-4", "--set",
                  "optimizer.learning_rate=1e-2", "--set", "training.steps=60", "--set",
                  "model.init.position_standard_deviation=0.3"});
  ASSERT_EQ(trained.status, 0) << trained.text();
  const Outcome exported = run_plumb(folder, 1, {"export", folder / "run", "--format", "huggingface"});
  ASSERT_EQ(exported.status, 0) << exported.text();
  const Outcome generated = run_plumb(
      folder, 1, {"generate", folder / "run", "--prompt", "a Qz", "--tokens", "12", "--temperature", "0"});
  ASSERT_EQ(generated.status, 0) << generated.text();
  const Outcome read = run_script(folder, "read_gpt2.py", {folder / "run/export/huggingface", "a Qz", "12"});
  SKIP_WITHOUT_READER(read);
  ASSERT_EQ(read.status, 0) << read.text();
  EXPECT_EQ(read.out, generated.out);
}

}  // namespace
}  // namespace plumb::test

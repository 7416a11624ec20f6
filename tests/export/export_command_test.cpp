// plumb export from outside.
#include <gmock/gmock.h>

#include <filesystem>

#include "cli/tiny_run.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Outcome export_run(const Folder& folder, const std::vector<std::string>& arguments) {
  std::vector<std::string> line = {"export"};
  line.insert(line.end(), arguments.begin(), arguments.end());
  return run_plumb(folder, 1, line);
}

TEST(ExportCommand, WritesIntoTheRunOrWhereItIsTold) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome trained = train_tiny(folder, 1, {"--set", "model.placement=pre"});
  ASSERT_EQ(trained.status, 0) << trained.text();
  for (const char* format : {"netcdf", "csv", "huggingface"}) {
    const Outcome outcome = export_run(folder, {folder / "run", "--format", format});
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    EXPECT_EQ(lines_of(outcome.out).size(), 1u) << outcome.text();
  }
  for (const char* file : {"logs.nc", "csv/metrics.csv", "csv/tensors.csv", "huggingface/model.safetensors",
                           "huggingface/config.json", "huggingface/vocab.json", "huggingface/merges.txt"})
    EXPECT_TRUE(fs::exists(folder / (std::string("run/export/") + file))) << file;
  EXPECT_EQ(lines_of(read_file(folder / "run/export/csv/metrics.csv")).size(), 7u);

  EXPECT_EQ(export_run(folder, {folder / "run", "--format", "csv", "--output", folder / "elsewhere"}).status,
            0);
  EXPECT_TRUE(fs::exists(folder / "elsewhere/events.csv"));
  // A checkpoint by itself; its run's folder gets the weights.
  fs::remove_all(folder / "run/export");
  EXPECT_EQ(export_run(folder, {folder / "run/checkpoints/step_00000006", "--format", "huggingface"}).status,
            0);
  EXPECT_TRUE(fs::exists(folder / "run/export/huggingface/model.safetensors"));
}

TEST(ExportCommand, FaultsGiveOneLine) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  struct Case {
    std::vector<std::string> arguments;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {{folder / "run", "--format", "huggingface"},
       "model.norm.out.kind = \"standard\" (\"layernorm\"), which GPT-2"},
      {{folder / "absent", "--format", "csv"}, "absent: there is no such run folder"},
      {{folder.path().string(), "--format", "netcdf"}, "metrics.jsonl is missing"},
      {{folder.path().string(), "--format", "huggingface"}, "no checkpoint here"},
      {{folder / "run"}, "--format is required"},
      {{folder / "run", "--format", "parquet"}, "parquet"},
      {{folder / "run", "--format", "netcdf", "--output", "/proc/x/logs.nc"}, "/proc/x"},
  };
  for (const Case& wrong : cases) {
    const Outcome outcome = export_run(folder, wrong.arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    EXPECT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, StartsWith("plumb: "));
    EXPECT_THAT(outcome.error, HasSubstr(wrong.expected));
  }
  EXPECT_FALSE(fs::exists(folder / "run/export/huggingface"));
}

}  // namespace
}  // namespace plumb::test

// Every configuration under configs/ trains: two steps on two ranks, on a text of a few thousand bytes. Of
// the grids every file does, in one cell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "configurations.h"
#include "program.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

void expect_two_steps(const std::vector<fs::path>& configs) {
  const Folder folder;
  std::vector<int> tokens;
  for (int i = 0; i < 6000; ++i) tokens.push_back('a' + i * i % 26);
  write_file(folder / "train.bin", raw_tokens(tokens));
  write_file(folder / "validation.bin", raw_tokens({tokens.begin(), tokens.begin() + 600}));
  std::vector<std::string> line = {"train"};
  for (const fs::path& config : configs) line.push_back(config.string());
  for (const char* setting :
       {"run.dir=\"@/run\"", "data.train=\"@/train.bin\"", "data.validation=\"@/validation.bin\"",
        "training.steps=2", "learning_rate.warmup_steps=1", "validation.at_end=false",
        "checkpoint.at_end=false", "compute.threads=1"}) {
    line.insert(line.end(), {"--set", folder.fill(setting)});
  }
  const Outcome outcome = run_plumb(folder, 2, line);
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.plumb_lines(), ::testing::IsEmpty());
  EXPECT_THAT(outcome.out, HasSubstr("done: 2 steps"));
  const std::vector<std::string> metrics = lines_of(read_file(folder / "run/metrics.jsonl"));
  ASSERT_EQ(metrics.size(), 2u);
  // Untrained: at least near the ln 256 = 5.5 nats of a guess among 256 bytes; above where the initial logits
  // are large (embeddings times the root of the width under a tied head).
  const std::size_t at = metrics[0].find("\"loss\":");
  ASSERT_NE(at, std::string::npos) << metrics[0];
  const double loss = std::stod(metrics[0].substr(at + 7));
  EXPECT_GT(loss, 4.5);
  EXPECT_LT(loss, 12);
}

class ConfigurationRun : public ::testing::TestWithParam<fs::path> {};
TEST_P(ConfigurationRun, TrainsTwoSteps) { expect_two_steps({GetParam()}); }

INSTANTIATE_TEST_SUITE_P(Folder, ConfigurationRun, ::testing::ValuesIn(whole_configurations()),
                         [](const auto& test) { return test_name(test.param.stem().string()); });

/// Enough cells that every file of every axis is in one: along the axes, and the baselines.
std::vector<GridCell> some_cells() {
  std::vector<GridCell> cells;
  std::set<fs::path> seen;
  for (const GridCell& cell : small_cells()) {
    bool is_new = false;
    for (const fs::path& file : cell.files) is_new |= seen.insert(file).second;
    if (is_new) cells.push_back(cell);
  }
  return cells;
}

class CellRun : public ::testing::TestWithParam<GridCell> {};
TEST_P(CellRun, TrainsTwoSteps) { expect_two_steps(GetParam().files); }

INSTANTIATE_TEST_SUITE_P(Grid, CellRun, ::testing::ValuesIn(some_cells()),
                         [](const auto& test) { return test_name(test.param.name); });

}  // namespace
}  // namespace plumb::test

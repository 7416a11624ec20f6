// Every configuration under configs/ trains: two steps on two ranks, on a text of a few thousand bytes. Of
// the sweeps every choice does, in one cell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "config/dump.h"
#include "configurations.h"
#include "program.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

void expect_two_steps(const Folder& folder, const fs::path& config) {
  std::vector<int> tokens;
  for (int i = 0; i < 6000; ++i) tokens.push_back('a' + i * i % 26);
  write_file(folder / "train.bin", raw_tokens(tokens));
  write_file(folder / "validation.bin", raw_tokens({tokens.begin(), tokens.begin() + 600}));
  std::vector<std::string> line = {"train", config.string()};
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
TEST_P(ConfigurationRun, TrainsTwoSteps) { expect_two_steps(Folder(), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Folder, ConfigurationRun, ::testing::ValuesIn(whole_configurations()),
                         [](const auto& test) { return test_name(test.param.stem().string()); });

/// Enough cells that every choice of every axis is in one, and the cells of their own.
std::vector<SweepCell> some_cells() {
  std::vector<SweepCell> cells;
  for (const char* sweep : {"kan", "prores"}) {
    std::set<std::string> seen;
    for (const SweepCell& cell : cells_of({sweep})) {
      bool is_new = !cell.extra.empty();
      for (const std::string& value : cell.values) is_new |= seen.insert(value).second;
      if (is_new) cells.push_back(cell);
    }
  }
  return cells;
}

class CellRun : public ::testing::TestWithParam<SweepCell> {};

TEST_P(CellRun, TrainsTwoSteps) {
  const Folder folder;
  SweepCell cell = GetParam();
  cell.file = folder / "cell.toml";
  write_file(cell.file, dump_config(cell.loaded));
  expect_two_steps(folder, cell.file);
}

INSTANTIATE_TEST_SUITE_P(Sweep, CellRun, ::testing::ValuesIn(some_cells()),
                         [](const auto& test) { return test_name(test.param.name); });

}  // namespace
}  // namespace plumb::test

// Every configuration under configs/ trains: two steps on two ranks, on a text of a few thousand bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "program.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<fs::path> configurations() {
  std::vector<fs::path> list;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(PLUMB_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".toml") list.push_back(entry.path());
  }
  std::sort(list.begin(), list.end());
  return list;
}

class ConfigurationRun : public ::testing::TestWithParam<fs::path> {};

TEST_P(ConfigurationRun, TrainsTwoSteps) {
  const Folder folder;
  std::vector<int> tokens;
  for (int i = 0; i < 6000; ++i) tokens.push_back('a' + i * i % 26);
  write_file(folder / "train.bin", raw_tokens(tokens));
  write_file(folder / "validation.bin", raw_tokens({tokens.begin(), tokens.begin() + 600}));
  std::vector<std::string> line = {"train", GetParam().string()};
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
  // Untrained: near the ln 256 = 5.5 nats of a guess among 256 bytes.
  const std::size_t at = metrics[0].find("\"loss\":");
  ASSERT_NE(at, std::string::npos) << metrics[0];
  const double loss = std::stod(metrics[0].substr(at + 7));
  EXPECT_GT(loss, 4.5);
  EXPECT_LT(loss, 7.5);
}

INSTANTIATE_TEST_SUITE_P(Folder, ConfigurationRun, ::testing::ValuesIn(configurations()),
                         [](const auto& test) {
                           std::string name = test.param.stem().string();
                           std::replace_if(
                               name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; },
                               '_');
                           return name;
                         });

}  // namespace
}  // namespace plumb::test

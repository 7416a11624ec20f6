// The same configuration, seed, world, threads and build: the same bits in logs and checkpoints.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

struct Case {
  int ranks;
  std::vector<std::string> settings;
};

class Determinism : public ::testing::TestWithParam<Case> {};

TEST_P(Determinism, TwoRunsGiveTheSameBits) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  std::vector<std::string> settings = GetParam().settings;
  settings.insert(settings.end(), {"checkpoint.at_end=true", "model.dropout.branch=0.1", "validation.every=7",
                                   "validation.sequences=24"});
  train(GetParam().ranks, config, folder.path() / "once", settings);
  train(GetParam().ranks, config, folder.path() / "again", settings);
  expect_same_logs(folder.path() / "again", folder.path() / "once");
  expect_same_checkpoint(folder.path() / "again", folder.path() / "once", 20);
}

INSTANTIATE_TEST_SUITE_P(Worlds, Determinism,
                         ::testing::Values(Case{1, {"compute.threads=2"}}, Case{2, {"compute.dtype=bf16"}},
                                           Case{3, {}}, Case{4, {"training.micro_batch_sequences=1"}}),
                         [](const auto& info) {
                           return fmt::format("case_{}_on_{}_ranks", info.index, info.param.ranks);
                         });

/// Another seed must give other logs, or the comparison above compares nothing.
TEST(DeterminismCheck, AnotherSeedShows) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  train(2, config, folder.path() / "once", {});
  train(2, config, folder.path() / "other", {"training.seed=8"});
  EXPECT_NE(lines_without_times(folder.path() / "once" / "metrics.jsonl"),
            lines_without_times(folder.path() / "other" / "metrics.jsonl"));
}

}  // namespace
}  // namespace plumb::distributed

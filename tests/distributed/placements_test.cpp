// Every placement over ranks and across an interruption: what a row adds (streams, shared numbers, a
// profiling pass, weights on the sphere) depends neither on how the batch is split nor on when the run was
// stopped.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"
#include "distributed/probe_result.h"
#include "nn/placement.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

std::vector<std::string> names() {
  std::vector<std::string> list;
  for (const Placement& row : placements()) list.emplace_back(row.name);
  return list;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& character : name) character = character == '-' ? '_' : character;
  return name;
}

/// A schedule over time on top, and a learning rate at which the loss moves within a few steps.
std::vector<std::string> settings_of(const std::string& placement) {
  std::vector<std::string> settings = {"model.placement=" + placement, "model.residual.b.time=prores-linear",
                                       "model.residual.b.ramp_steps=3", "optimizer.learning_rate=3e-3",
                                       "learning_rate.warmup_steps=0"};
  if (placement == "res-post-norm") settings.push_back("model.placement_period=2");
  return settings;
}

class PlacementOverRanks : public ::testing::TestWithParam<std::string> {};

TEST_P(PlacementOverRanks, OneRankTwoRanksAndMicroBatches) {
  const TemporaryFolder folder;
  std::vector<std::string> settings = settings_of(GetParam());
  settings.insert(settings.end(), {"device=reference", "compute.dtype=fp64", "training.steps=6"});
  const ProbeResult one = run_probe(folder.path(), "one", 1, settings);
  EXPECT_GT(std::abs(one.losses().front() - one.losses().back()), 1e-3) << "this run learns nothing";
  std::vector<std::string> split = settings;
  split.push_back("training.micro_batch_sequences=2");
  const ProbeResult two = run_probe(folder.path(), "two", 2, split);
  EXPECT_LE(gradient_distance(two, one), 1e-10);
  EXPECT_LE(curve_distance(two.losses(), one.losses()), 1e-10);
}

INSTANTIATE_TEST_SUITE_P(Rows, PlacementOverRanks, ::testing::ValuesIn(names()), test_name);

class PlacementAcrossAStop : public ::testing::TestWithParam<std::string> {};

TEST_P(PlacementAcrossAStop, EightStepsAndEightMoreEqualSixteen) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  std::vector<std::string> settings = settings_of(GetParam());
  settings.insert(settings.end(), {"training.steps=16", "learning_rate.kind=constant", "checkpoint.every=8"});
  train(2, config, folder.path() / "whole", settings);
  std::vector<std::string> half = settings;
  half.push_back("training.steps=8");
  train(2, config, folder.path() / "halves", half);
  train(2, config, folder.path() / "halves", settings, "--resume auto");
  expect_same_logs(folder.path() / "halves", folder.path() / "whole");
  expect_same_checkpoint(folder.path() / "halves", folder.path() / "whole", 16);
}

INSTANTIATE_TEST_SUITE_P(Rows, PlacementAcrossAStop,
                         ::testing::Values("admin", "ngpt", "gpas", "fixup", "rezero", "value-residual",
                                           "residual", "siamesenorm", "hyper-connections", "mhc"),
                         test_name);

}  // namespace
}  // namespace plumb::distributed

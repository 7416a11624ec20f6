// Training on the emulated GPUs against the reference backend: reduced gradients of whole models, over ranks
// that reduce by (emulated) NCCL while backward goes on.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"
#include "distributed/probe_result.h"
#include "nn/placement.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

/// How the emulated streams run; see tests/emulation.
class Schedule {
 public:
  explicit Schedule(const std::string& name) { setenv(kVariable, name.c_str(), 1); }
  ~Schedule() { unsetenv(kVariable); }
  Schedule(const Schedule&) = delete;
  Schedule& operator=(const Schedule&) = delete;

 private:
  static constexpr const char* kVariable = "PLUMB_EMULATION_STREAMS";
};

/// Small enough for an emulation that runs a million threads a second. With AdamW's usual epsilon an entry
/// whose gradient is all rounding error moves as far as any other, and by step 5 the run has left the exact
/// one: with value-residual by 4e-4, on the cpu backend as well.
std::vector<std::string> settings_of(const std::string& placement) {
  std::vector<std::string> settings = {
      "model.placement=" + placement,         "model.sequence_length=8", "training.sequences_per_step=4",
      "optimizer.learning_rate=1e-3",         "training.steps=20",       "learning_rate.warmup_steps=0",
      "communication.bucket_megabytes=0.002", "optimizer.epsilon=1e-4"};
  if (placement == "res-post-norm") settings.push_back("model.placement_period=2");
  return settings;
}

std::vector<std::string> with(std::vector<std::string> settings, const std::vector<std::string>& further) {
  settings.insert(settings.end(), further.begin(), further.end());
  return settings;
}

struct Tolerance {
  const char* dtype;
  double gradient;
};
constexpr Tolerance kFloat32{"fp32", 1e-5}, kBFloat16{"bf16", 2e-2};

/// Trains on `ranks` emulated GPUs and on the reference backend.
void expect_equals_reference(const std::vector<std::string>& settings, int ranks,
                             const Tolerance& tolerance) {
  const TemporaryFolder folder;
  const ProbeResult reference =
      run_probe(folder.path(), "reference", 1,
                with(settings, {"device=reference", "compute.dtype=fp64", "compute.captured_steps=false"}));
  const ProbeResult emulated =
      run_probe(folder.path(), "emulated", ranks,
                with(settings, {"device=cuda-emulated", fmt::format("compute.dtype={}", tolerance.dtype)}));
  EXPECT_GT(emulated.buckets(), 3) << "too few buckets to overlap";
  const double first = gradient_distance(emulated, reference),
               later = gradient_distance(emulated, reference, When::Later);
  EXPECT_LE(first, tolerance.gradient) << "reduced gradients of step 1";
  EXPECT_LE(later, tolerance.gradient) << "reduced gradients of step 5";
  ::testing::Test::RecordProperty("gradient_distance_step_1", fmt::format("{:.2g}", first));
  std::printf("gradients: %.2g at step 1, %.2g at step 5\n", first, later);
  const std::vector<std::int64_t> hashes = emulated.hashes();
  ASSERT_EQ(hashes.size(), static_cast<std::size_t>(ranks));
  for (const std::int64_t hash : hashes) EXPECT_EQ(hash, hashes.front()) << "ranks hold different parameters";
}

std::vector<std::string> names() {
  std::vector<std::string> list;
  for (const Placement& row : placements()) list.emplace_back(row.name);
  return list;
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& character : name) character = character == '-' || character == ':' ? '_' : character;
  return name;
}

class EmulatedPlacement : public ::testing::TestWithParam<std::string> {};

TEST_P(EmulatedPlacement, TwoRanksEqualReference) {
  const Schedule lazy("lazy");
  expect_equals_reference(settings_of(GetParam()), 2, kFloat32);
}
INSTANTIATE_TEST_SUITE_P(Rows, EmulatedPlacement, ::testing::ValuesIn(names()), test_name);

// A rate at which five updates do not carry the rounded run away from the exact one.
TEST(EmulatedTraining, BFloat16) {
  const Schedule lazy("lazy");
  expect_equals_reference(with(settings_of("peri"), {"optimizer.learning_rate=1e-4"}), 2, kBFloat16);
}

TEST(EmulatedTraining, FourRanks) {
  const Schedule lazy("lazy");
  expect_equals_reference(settings_of("peri"), 4, kFloat32);
}

TEST(EmulatedTraining, MicroBatches) {
  const Schedule lazy("lazy");
  expect_equals_reference(with(settings_of("peri"), {"training.micro_batch_sequences=1"}), 2, kFloat32);
}

TEST(EmulatedTraining, CapturedSteps) {
  const Schedule lazy("lazy");
  expect_equals_reference(
      with(settings_of("peri"), {"training.micro_batch_sequences=1", "compute.captured_steps=true"}), 2,
      kFloat32);
}

/// Reduce-scatter and all-gather of (emulated) NCCL beside its all-reduce.
void expect_sharded_equals_whole(int ranks, const std::vector<std::string>& further, double tolerance) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  const std::vector<std::string> settings =
      with(with(settings_of("peri"),
                {"device=cuda-emulated", "training.steps=8", "optimizer.clip_norm=0.5",
                 "alarms.replicas_every=1", fmt::format("training.sequences_per_step={}", 2 * ranks)}),
           further);
  train(ranks, config, folder.path() / "whole", settings);
  train(ranks, config, folder.path() / "sharded", with(settings, {"optimizer.sharded=true"}));
  EXPECT_LE(curve_distance(loss_curve(folder.path() / "sharded"), loss_curve(folder.path() / "whole")),
            tolerance);
  for (const Json& event : read_records(folder.path() / "sharded" / "events.jsonl"))
    EXPECT_NE(event.at("kind"), "replica_drift") << event;
}

TEST(EmulatedSharded, EqualsTheWhole) {
  const Schedule random("random:1");
  expect_sharded_equals_whole(3, {}, 1e-6);
}

TEST(EmulatedSharded, InRecordedStepsWithRoundedCopies) {
  const Schedule lazy("lazy");
  expect_sharded_equals_whole(2, {"compute.dtype=bf16", "compute.captured_steps=true"}, 1e-4);
}

TEST(EmulatedSharded, WithGradientsInBrainFloatsOnTheWire) {
  const Schedule random("random:2");
  expect_sharded_equals_whole(2, {"communication.gradient_dtype=bf16"}, 1e-5);
}

class EmulatedSchedule : public ::testing::TestWithParam<std::string> {};

TEST_P(EmulatedSchedule, PeriOverTwoRanks) {
  const Schedule schedule(GetParam());
  expect_equals_reference(settings_of("peri"), 2, kFloat32);
}
INSTANTIATE_TEST_SUITE_P(Streams, EmulatedSchedule,
                         ::testing::Values("eager", "random:1", "random:2", "random:3", "random:4",
                                           "random:5"),
                         test_name);

}  // namespace
}  // namespace plumb::distributed

// What planning counts against what a real run allocates on this rank, byte for byte: alone, and with RANKS 2
// over MPI, where gradients lie in shared memory.
#include "planned_run.h"

#include <gtest/gtest.h>

#include <tuple>

#include "backend_options.h"
#include "checkpointed_model.h"
#include "core/parallel_for.h"

namespace plumb {
namespace {

Session* session = nullptr;

LoadedConfig config_of(std::vector<std::string> settings) {
  const std::vector<std::string> common = {
      "device=cpu",
      "model.blocks=3",
      "model.width=32",
      "model.heads=2",
      "model.sequence_length=16",
      "data.kind=markov",
      "training.steps=4",
      fmt::format("training.sequences_per_step={}", 4 * session->world()),
      "training.micro_batch_sequences=2",
      "communication.bucket_megabytes=0.02"};
  settings.insert(settings.begin(), common.begin(), common.end());
  return load_config({ConfigSource{"test", ""}}, settings, placement_presets());
}

struct Allocated {
  std::size_t bytes = 0, items = 0;
};

/// As train_command.cpp builds it.
Allocated allocated_by_training(const LoadedConfig& loaded) {
  const Config& config = loaded.config;
  session->choose_sum_path(sum_path(config.communication));
  BackendOptions options = backend_options(config.compute, session->launch());
  options.communicator = &session->communicator();
  const auto backend = make_backend(config.device, options);
  const LanguageModelTask task = make_language_model_task(config);
  const TrainingLoop loop(*session, loaded, check_batch(loaded, session->world()), task, *backend,
                          resolve_compute_dtype(config.compute.dtype, *backend));
  Allocated allocated{.bytes = backend->memory_use().bytes};
  for (const MemoryShare& share : loop.memory_plan()) allocated.items += share.bytes;
  return allocated;
}

PlannedRank here() {
  return {.rank = session->rank(),
          .world = session->world(),
          .ranks_per_host = session->communicator().local_size()};
}

void expect_counted_as_allocated(const std::vector<std::string>& settings) {
  const LoadedConfig loaded = config_of(settings);
  const Allocated real = allocated_by_training(loaded);
  const PlannedRun planned(loaded, make_language_model_task(loaded.config), here());
  EXPECT_EQ(planned.allocated_bytes(), real.bytes);
  EXPECT_EQ(planned.memory().device_bytes(), real.bytes);
  EXPECT_EQ(real.items, real.bytes) << "an allocation that no item of the plan names";
}

class PlannedMemoryOf : public testing::TestWithParam<std::tuple<bool, std::string, std::string>> {};
INSTANTIATE_TEST_SUITE_P(All, PlannedMemoryOf,
                         testing::Combine(testing::Bool(), testing::Values("none", "ffn", "block"),
                                          testing::Values("fp32", "bf16")));

TEST_P(PlannedMemoryOf, IsWhatTrainingAllocates) {
  const auto& [sharded, recompute, dtype] = GetParam();
  expect_counted_as_allocated({fmt::format("optimizer.sharded={}", sharded), "compute.recompute=" + recompute,
                               "compute.dtype=" + dtype});
}

TEST(PlannedMemory, CountsWhatIsAskedForBesides) {
  expect_counted_as_allocated({"optimizer.kind=sgd"});
  expect_counted_as_allocated({"sharpness.every=2"});
  expect_counted_as_allocated({"alarms.replicas_every=1"});
  expect_counted_as_allocated({"spikes.action=skip"});
  expect_counted_as_allocated({"model.placement=ngpt"});
  expect_counted_as_allocated({"model.placement=mhc"});
}

TEST(PlannedMemory, ShardsTheOptimiserOverRanksThatAreNotThere) {
  const auto optimiser = [](int world) {
    const LoadedConfig loaded = with_local_sequences(config_of({"optimizer.sharded=true"}), 4, world);
    const PlannedRun run(loaded, make_language_model_task(loaded.config),
                         {.rank = 0, .world = world, .ranks_per_host = 2});
    for (const MemoryShare& share : run.memory().steps)
      if (share.name == "optimiser") return static_cast<double>(share.bytes);
    return 0.0;
  };
  EXPECT_NEAR(optimiser(2) / optimiser(1), 0.5, 0.05);
  EXPECT_NEAR(optimiser(8) / optimiser(1), 0.125, 0.05);
}

TEST(PlannedMemory, TouchesNoneOfIt) {
  // 7 GB of parameters, gradients and state of a model that would not fit beside others here.
  const LoadedConfig loaded = config_of({"model.width=4096", "model.blocks=2", "model.heads=32"});
  const std::size_t before = resident_bytes();
  const PlannedRun run(loaded, make_language_model_task(loaded.config), here());
  EXPECT_GT(run.allocated_bytes(), std::size_t{6'000'000'000});
  EXPECT_LT(resident_bytes() - std::min(before, resident_bytes()), std::size_t{50'000'000});
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  plumb::set_thread_count(1);
  plumb::Session here;
  plumb::session = &here;
  return RUN_ALL_TESTS();
}

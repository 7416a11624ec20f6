// compute.recompute: a run whose backward makes activations again is the run without, bit for bit: gradients,
// losses, statistics, parameters.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "backend/loader.h"
#include "checkpointed_model.h"
#include "config/batch.h"
#include "core/parallel_for.h"
#include "nn/placement.h"
#include "session.h"
#include "stability/record_json.h"
#include "stability/statistics_table.h"
#include "training_loop.h"

namespace plumb::test {
namespace {

/// Everything that draws random numbers, two micro-batches, every statistic at every step.
constexpr const char* kConfig = R"(
[model]
blocks = 3
width = 16
sequence_length = 8
dropout.embedding = 0.1
dropout.branch = 0.2
[data]
kind = "markov"
synthetic_vocabulary = 19
[training]
sequences_per_step = 4
micro_batch_sequences = 2
steps = 3
[optimizer]
learning_rate = 1e-2
[learning_rate]
warmup_steps = 0
[log]
stability_every = 1
[statistics]
kurtosis = true
updates = true
small_variance = true
saturation = true
dead_units = true
massive_activations = true
token_similarity = true
detail_every = 1
[validation]
at_end = false
[checkpoint]
at_end = false
)";

using Settings = std::vector<std::string>;

Settings with_attention(const Settings& settings) {
  Settings all = {"model.heads=2", "model.dropout.attention=0.2"};
  all.insert(all.end(), settings.begin(), settings.end());
  return all;
}

/// What must not depend on what is kept.
struct RunResult {
  std::vector<std::string> records;  ///< of every step, without its times
  std::string gradients, parameters;
  std::size_t planned = 0, taken = 0, recomputed = 0;  ///< bytes
};

std::string without_times(const StepRecord& record) {
  auto metrics = nlohmann::ordered_json::parse(record_line(record, log_file::kMetrics));
  for (const char* key : {"time", "step_seconds", "tokens_per_s", "wait_seconds", "preempted_seconds"})
    metrics.erase(key);
  return metrics.dump() + record_line(record, log_file::kStability);
}

std::string bytes_of(Engine& engine, const Tensor& tensor) {
  std::string bytes(tensor.bytes(), '\0');
  engine.backend().download(engine.stream(), tensor.data, bytes.data(), bytes.size());
  engine.stream().synchronize();
  return bytes;
}

RunResult train(const std::string& device, const std::string& dtype, Settings settings,
                const std::string& recompute, std::int64_t steps = 3) {
  settings.insert(settings.end(),
                  {"device=" + device, "compute.dtype=" + dtype, "compute.recompute=" + recompute});
  const LoadedConfig loaded =
      load_config({ConfigSource{"recompute.toml", kConfig}}, settings, placement_presets());
  Session session;
  const LanguageModelTask task = make_language_model_task(loaded.config);
  set_thread_count(2);
  const auto backend = make_backend(device);
  TrainingLoop loop(session, loaded, check_batch(loaded, 1), task, *backend,
                    resolve_compute_dtype(dtype, *backend));
  loop.start();
  RunResult result;
  for (std::int64_t step = 0; step < steps; ++step)
    result.records.push_back(without_times(loop.single_step()));
  result.gradients = bytes_of(loop.engine(), loop.engine().parameters().flat_gradient());
  for (const Parameter& parameter : loop.engine().parameters().all())
    result.parameters += bytes_of(loop.engine(), parameter.value);
  for (const MemoryShare& share : loop.engine().memory_plan()) {
    result.planned += share.bytes;
    if (share.name == "recomputed activations") result.recomputed = share.bytes;
  }
  result.taken = backend->memory_use().bytes;
  return result;
}

void expect_same(const RunResult& run, const RunResult& expected) {
  ASSERT_EQ(run.records.size(), expected.records.size());
  for (std::size_t i = 0; i < run.records.size(); ++i)
    EXPECT_EQ(run.records[i], expected.records[i]) << "step " << i + 1;
  EXPECT_TRUE(run.gradients == expected.gradients) << "gradients of the last step differ";
  EXPECT_TRUE(run.parameters == expected.parameters) << "parameters differ";
}

/// Both ways of making activations again against keeping them.
void expect_bits_stay(const std::string& device, const std::string& dtype, const Settings& settings,
                      bool has_ffn = true) {
  const RunResult kept = train(device, dtype, settings, "none");
  ASSERT_NE(kept.gradients.find_first_not_of('\0'), std::string::npos);
  EXPECT_EQ(kept.recomputed, 0u);
  for (const char* recompute : {"ffn", "block"}) {
    if (!has_ffn && std::string(recompute) == "ffn") continue;
    SCOPED_TRACE(recompute);
    const RunResult run = train(device, dtype, settings, recompute);
    expect_same(run, kept);
    EXPECT_GT(run.recomputed, 0u);
    EXPECT_LT(run.planned, kept.planned);
    EXPECT_EQ(kept.taken - run.taken, kept.planned - run.planned) << "the plan is exact";
  }
}

struct Platform {
  const char *device, *dtype;
};
void PrintTo(const Platform& platform, std::ostream* out) {
  *out << platform.device << " " << platform.dtype;
}

constexpr Platform kPlatforms[] = {{"reference", "fp64"}, {"cpu", "fp32"}, {"cpu", "bf16"}};

std::vector<std::string> placement_list() {
  std::vector<std::string> list;
  for (const Placement& row : placements()) list.emplace_back(row.name);
  return list;
}

using PlacedPlatform = std::tuple<std::string, Platform>;

std::string placed_name(const ::testing::TestParamInfo<PlacedPlatform>& info) {
  const Platform platform = std::get<Platform>(info.param);
  std::string name = std::get<std::string>(info.param) + "_" + platform.device + "_" + platform.dtype;
  for (char& character : name) character = character == '-' || character == ':' ? '_' : character;
  return name;
}

class RecomputeOfPlacement : public ::testing::TestWithParam<PlacedPlatform> {};
INSTANTIATE_TEST_SUITE_P(Rows, RecomputeOfPlacement,
                         ::testing::Combine(::testing::ValuesIn(placement_list()),
                                            ::testing::ValuesIn(kPlatforms)),
                         placed_name);

TEST_P(RecomputeOfPlacement, BitsStay) {
  const auto& [placement, platform] = GetParam();
  Settings settings = {"model.placement=" + placement};
  if (placement == "res-post-norm") settings.emplace_back("model.placement_period=2");
  expect_bits_stay(platform.device, platform.dtype, with_attention(settings));
}

/// What placements leave out.
struct Variant {
  const char* name;
  Settings settings;
  bool has_attention = true, has_ffn = true;
};
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

std::vector<Variant> variants() {
  return {
      {"StochasticDepth", {"model.residual.b={value=1, keep_probability=0.6, keep_depth='linear'}"}},
      {"StochasticDepthOfPost", {"model.placement=post", "model.residual.b={value=1, keep_probability=0.6}"}},
      {"TrainedSteps",
       {"model.residual.a={value=0.9, trainable='vector'}",
        "model.residual.b={value=0.5, trainable='vector'}",
        "model.residual.c={value=1.1, trainable='scalar'}"}},
      {"StepsOfBlocks", {"model.residual.b={value=0.5, trainable='scalar', per_block=true}"}},
      {"MappedSteps", {"model.residual.b={value=0.5, trainable='scalar', transform='absolute'}"}},
      {"TiedSkip",
       {"model.residual.b={value=0.3, trainable='scalar'}", "model.residual.a.tie_to_branch=true"}},
      {"BlockSkip", {"model.residual.e={value=0.2, trainable='scalar'}"}},
      {"UntiedHeadNoBiases", {"model.tied_head=false", "model.biases=false"}},
      {"Gated", {"model.activation='swiglu'", "model.position='rotary'", "model.norm_kind='rmsnorm'"}},
      {"FfnFirst", {"model.block=['ffn', 'attention', 'ffn']"}},
      {"LinearBranches", {"model.block=['linear', 'linear']"}, false, false},
      {"OneSublayer", {"model.block=['ffn']"}, false},
      {"NoDropout", {"model.dropout.embedding=0", "model.dropout.branch=0", "model.dropout.attention=0"}},
      {"OneMicroBatch", {"training.micro_batch_sequences=4"}},
      {"OrdinaryStatistics", {"log.stability_every=2", "statistics.detail_every=0"}},
      {"QkNorms",
       {"model.norm.qk.kind='standard'", "model.norm.v.kind='standard'",
        "model.norm.ffn_inner.kind='standard'", "model.norm.pre_projection.kind='standard'",
        "model.head_gains=true"}},
      {"BoundedNorms", {"model.norm_kind='dyt'"}},
      {"WideRows",
       {"model.width=96", "model.heads=3", "model.sequence_length=40", "model.norm.out.kind='layernorm'"}},
  };
}

class RecomputeOfVariant : public ::testing::TestWithParam<std::tuple<Variant, Platform>> {};
INSTANTIATE_TEST_SUITE_P(Settings, RecomputeOfVariant,
                         ::testing::Combine(::testing::ValuesIn(variants()), ::testing::ValuesIn(kPlatforms)),
                         [](const auto& info) {
                           const Platform platform = std::get<Platform>(info.param);
                           return std::string(std::get<Variant>(info.param).name) + "_" + platform.device +
                                  "_" + platform.dtype;
                         });

TEST_P(RecomputeOfVariant, BitsStay) {
  const auto& [variant, platform] = GetParam();
  expect_bits_stay(platform.device, platform.dtype,
                   variant.has_attention ? with_attention(variant.settings) : variant.settings,
                   variant.has_ffn);
}

/// The device's steps are recorded once and replayed; the recorded ones make activations again, too.
class RecomputeOnEmulatedDevice : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, RecomputeOnEmulatedDevice, ::testing::Values("fp32", "bf16"));

TEST_P(RecomputeOnEmulatedDevice, BitsStayInRecordedSteps) {
  const std::vector<std::string> backends = backend_names();
  if (std::find(backends.begin(), backends.end(), "cuda-emulated") == backends.end()) {
    GTEST_SKIP() << "no emulated device in this build";
  }
  for (const char* placement : {"peri", "value-residual", "mhc"}) {
    SCOPED_TRACE(placement);
    expect_bits_stay("cuda-emulated", GetParam(),
                     with_attention({std::string("model.placement=") + placement, "model.blocks=2",
                                     "compute.captured_steps=true"}));
  }
}

// Without dropout's draws being those of the first pass the bits could not stay; this sees that they matter.
TEST(Recompute, DropoutIsInTheRun) {
  const RunResult with = train("reference", "fp64", with_attention({}), "block"),
                  without = train("reference", "fp64", {"model.heads=2"}, "block");
  EXPECT_NE(with.gradients, without.gradients);
}

}  // namespace
}  // namespace plumb::test

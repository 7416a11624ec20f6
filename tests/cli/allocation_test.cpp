// The allocation contract: after its first steps the training thread asks operator new for nothing; what
// libraries ask for is named and printed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "allocation_log.h"
#include "backend/loader.h"
#include "checkpointed_model.h"
#include "config/batch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "program.h"
#include "run_trace.h"
#include "session.h"
#include "training_loop.h"

namespace plumb {
namespace {

constexpr std::int64_t kWarmUp = 5, kSteps = 17;

Session* session = nullptr;
const TrainingLoop* loop = nullptr;

/// From the end of warm-up, which holds a sampled step, to the last step's end.
bool between_steps() { return loop != nullptr && loop->step() >= kWarmUp && loop->step() < kSteps; }

/// Every kind of step is among those that count: sampled and not, with a line on the console and in every
/// log.
constexpr const char* kConfig = R"(device = "cpu"
[model]
blocks = 2
width = 32
heads = 4
sequence_length = 16
norm.embedding.kind = "standard"
norm.qk.kind = "standard"
residual.b = {value = 0.5, depth = "1/l", time = "linear", ramp_steps = 15, trainable = "vector"}
dropout.branch = 0.1
dropout.attention = 0.1
[data]
kind = "markov"
synthetic_vocabulary = 64
[training]
sequences_per_step = 8
micro_batch_sequences = 2
[optimizer]
learning_rate = 1e-3
[communication]
bucket_megabytes = 0.02
[validation]
at_end = false
[log]
console_every = 3
stability_every = 4
ranks_every = 2
[statistics]
kurtosis = true
updates = true
small_variance = true
saturation = true
dead_units = true
massive_activations = true
token_similarity = true
[alarms]
replicas_every = 3
[checkpoint]
at_end = false
)";

test::AllocationReport train(const std::string& dtype, const std::string& placement,
                             const std::string& recompute, bool traces) {
  // All ranks of a job run this; the log's folder is rank 0's.
  const test::Folder folder;
  const LoadedConfig loaded = load_config({ConfigSource{"allocation.toml", kConfig}},
                                          {fmt::format("training.steps={}", kSteps), "compute.dtype=" + dtype,
                                           "model.placement=" + placement, "compute.recompute=" + recompute},
                                          placement_presets());
  const BatchShare share = check_batch(loaded, session->world());
  const LanguageModelTask task = make_language_model_task(loaded.config);
  set_thread_count(2);
  const auto backend = make_backend("cpu", {.communicator = &session->communicator()});
  session->choose_sum_path({});
  RunTrace trace(*session, *backend, TraceSteps{1, kSteps});
  TrainingLoop training(*session, loaded, share, task, traces ? trace.backend() : *backend,
                        resolve_compute_dtype(dtype, *backend));
  if (traces) training.trace_with(trace);
  training.start();
  std::unique_ptr<RunLog> log;
  if (session->is_first()) {
    log = std::make_unique<RunLog>(folder.path(), training.log_settings());
  }
  loop = &training;
  const test::AllocationReport report =
      test::record_allocations(between_steps, [&] { training.run(log.get(), folder.path()); });
  loop = nullptr;
  if (session->is_first()) {
    EXPECT_EQ(test::lines_of(test::read_file(folder / "metrics.jsonl")).size(),
              static_cast<std::size_t>(kSteps));
    EXPECT_EQ(test::lines_of(test::read_file(folder / "stability.jsonl")).size(), 6u)
        << "a header and steps 1, 4, 8, 12, 16";
  }
  return report;
}

void expect_none_of_ours(const std::string& dtype, const std::string& placement = "peri",
                         const std::string& recompute = "none", bool traces = false) {
  const test::AllocationReport report = train(dtype, placement, recompute, traces);
  std::string text;
  for (const auto& [object, count] : report.by_object) {
    text += fmt::format("  {}: {:.1f} a step", object, static_cast<double>(count) / (kSteps - kWarmUp));
  }
  fmt::print("operator new on the training thread of rank {}, {}, {}:{}\n", session->rank(), dtype, placement,
             text.empty() ? "  none" : text);
  std::string trace;
  for (const std::string& frame : report.first_own) trace += "  " + frame + "\n";
  EXPECT_EQ(report.own(), 0) << "the first one (addr2line reads the offsets):\n" << trace;
}

TEST(Allocation, NoneOfOursInFloat32) { expect_none_of_ours("fp32"); }
TEST(Allocation, NoneOfOursInBfloat16) { expect_none_of_ours("bf16"); }

TEST(Allocation, NoneOfOursInPlacementsWithMoreThanNorms) {
  // Coefficient maps, weights on the sphere, gains; values of the first attention; two streams; mixed ones.
  for (const char* placement : {"ngpt", "gpas", "value-residual", "fixup", "siamesenorm", "mhc"}) {
    SCOPED_TRACE(placement);
    expect_none_of_ours("fp32", placement);
  }
}

TEST(Allocation, NoneOfOursWhereActivationsAreMadeAgain) {
  for (const char* recompute : {"ffn", "block"}) {
    SCOPED_TRACE(recompute);
    expect_none_of_ours("fp32", "value-residual", recompute);
  }
}

TEST(Allocation, NoneOfOursInATrace) { expect_none_of_ours("fp32", "peri", "none", /*traces=*/true); }

bool always() { return true; }

TEST(Allocation, TheRecorderSeesAnAllocationOfOurs) {
  std::string* text = nullptr;
  const test::AllocationReport report =
      test::record_allocations(always, [&] { text = new std::string(100, 'x'); });
  delete text;
  EXPECT_EQ(report.count, 2) << "the object and its characters";
  EXPECT_EQ(report.own(), 2);
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  plumb::Session session;
  plumb::session = &session;
  return RUN_ALL_TESTS();
}

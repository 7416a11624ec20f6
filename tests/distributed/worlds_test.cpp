// The same global batch over any number of ranks and micro-batches gives the same training, up to rounding.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"
#include "distributed/probe_result.h"

namespace plumb::distributed {
namespace {

using Settings = std::vector<std::string>;
using plumb::testing::TemporaryFolder;

/// Every random draw that there is: they must not depend on the rank.
const Settings kRandomDraws = {"model.placement=pre", "model.dropout.embedding=0.1",
                               "model.dropout.attention=0.1", "model.dropout.branch=0.1",
                               "model.residual.b.keep_probability=0.7"};

Settings operator+(Settings left, const Settings& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

void expect_equal_replicas(const ProbeResult& result, int ranks) {
  const auto hashes = result.hashes();
  ASSERT_EQ(hashes.size(), static_cast<std::size_t>(ranks));
  EXPECT_EQ(std::count(hashes.begin(), hashes.end(), hashes[0]), ranks) << "the ranks' parameters differ";
}

/// 2, 3 and 4 ranks against one.
void compare_worlds(const Settings& settings, double tolerance, std::size_t steps) {
  const TemporaryFolder folder;
  const Settings all = settings + Settings{fmt::format("training.steps={}", steps)};
  const ProbeResult reference = run_probe(folder.path(), "ranks_1", 1, all);
  ASSERT_EQ(reference.losses().size(), steps);
  // A run that learns nothing would hide differences of the updates.
  EXPECT_GT(std::abs(reference.losses().front() - reference.losses().back()), 1e-3);
  for (const int ranks : {2, 3, 4}) {
    SCOPED_TRACE(fmt::format("{} ranks", ranks));
    const ProbeResult result = run_probe(folder.path(), fmt::format("ranks_{}", ranks), ranks, all);
    const double gradient = gradient_distance(result, reference),
                 curve = curve_distance(result.losses(), reference.losses());
    std::printf("%d ranks against 1: gradients of step 1 within %.2g, loss over %zu steps within %.2g\n",
                ranks, gradient, steps, curve);
    EXPECT_LE(gradient, tolerance);
    EXPECT_LE(curve, tolerance);
    expect_equal_replicas(result, ranks);
  }
}

TEST(Worlds, TenStepsInSinglePrecision) {
  compare_worlds({"optimizer.learning_rate=3e-3", "learning_rate.warmup_steps=0"}, 1e-5, 10);
}

TEST(Worlds, FiftyStepsInSinglePrecision) { compare_worlds({}, 1e-5, 50); }

TEST(Worlds, FiftyStepsWithDropoutAndStochasticDepth) { compare_worlds(kRandomDraws, 1e-5, 50); }

TEST(Worlds, FiftyStepsInDoublePrecision) {
  compare_worlds({"device=reference", "compute.dtype=fp64"}, 1e-10, 50);
}

TEST(Worlds, FiftyStepsInDoublePrecisionWithDropoutAndStochasticDepth) {
  compare_worlds(Settings{"device=reference", "compute.dtype=fp64"} + kRandomDraws, 1e-10, 50);
}

/// Every one of the draws above takes part in the comparison.
TEST(Worlds, EveryRandomDrawIsInPlay) {
  const TemporaryFolder folder;
  const Settings settings = kRandomDraws + Settings{"training.steps=2"};
  const ProbeResult all = run_probe(folder.path(), "all", 1, settings);
  for (std::size_t i = 1; i < kRandomDraws.size(); ++i) {
    Settings without = settings;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    const ProbeResult other = run_probe(folder.path(), fmt::format("without_{}", i), 1, without);
    EXPECT_GT(gradient_distance(other, all), 1e-3) << kRandomDraws[i];
  }
}

TEST(Worlds, BrainFloatsAgreeWithinTheirPrecision) {
  const TemporaryFolder folder;
  const Settings settings = {"compute.dtype=bf16", "training.steps=10"};
  const ProbeResult one = run_probe(folder.path(), "one", 1, settings),
                    two = run_probe(folder.path(), "two", 2, settings),
                    single = run_probe(folder.path(), "single", 1, {"training.steps=10"});
  EXPECT_GT(gradient_distance(one, single), 1e-4) << "these runs are not in bf16";
  EXPECT_LE(gradient_distance(one, single), 2e-2);
  const double distance = gradient_distance(two, one);
  std::printf("bf16: gradients of 2 ranks within %.2g of 1 rank\n", distance);
  EXPECT_LE(distance, 2e-2);
  EXPECT_LE(curve_distance(two.losses(), one.losses()), 2e-2);
  expect_equal_replicas(two, 2);
  for (const char* file : {"metrics.jsonl", "stability.jsonl", "ranks.jsonl"}) {
    for (const Json& record : read_records(folder.path() / "two" / file)) {
      EXPECT_FALSE(record.contains("nonfinite")) << record.dump();
    }
  }
}

/// Two ranks: there is one order of a sum of two, whichever way it goes. Ranks that share no memory count as
/// hosts, between which gradients may be rounded.
TEST(Worlds, GradientsByMemoryAndByMessagesAreTheSameAndRoundedOnesNearby) {
  const TemporaryFolder folder;
  const Settings settings = {"training.steps=10"},
                 messages = settings + Settings{"communication.shared_memory=false"},
                 rounds = {"communication.gradient_dtype=bf16"};
  const ProbeResult shared = run_probe(folder.path(), "shared", 2, settings),
                    sent = run_probe(folder.path(), "sent", 2, messages),
                    one_host = run_probe(folder.path(), "one_host", 2, settings + rounds),
                    rounded = run_probe(folder.path(), "rounded", 2, messages + rounds);
  EXPECT_EQ(gradient_distance(sent, shared), 0);
  EXPECT_EQ(gradient_distance(one_host, shared), 0) << "inside a host nothing is rounded";
  EXPECT_EQ(sent.losses(), shared.losses());
  const double distance = gradient_distance(rounded, shared);
  std::printf("gradients rounded to bf16 between 2 ranks within %.2g\n", distance);
  EXPECT_GT(distance, 1e-4) << "nothing was rounded";
  EXPECT_LE(distance, 2.0 / 256);
  EXPECT_LE(curve_distance(rounded.losses(), shared.losses()), 1e-2);
  expect_equal_replicas(rounded, 2);
}

/// 12 sequences at once on one rank; 4 micro-batches of 3; 3 micro-batches of 2 on each of 2 ranks.
TEST(Accumulation, MicroBatchesChangeNothing) {
  const Settings backends[] = {{}, {"device=reference", "compute.dtype=fp64"}};
  for (const Settings& backend : backends) {
    const double tolerance = backend.empty() ? 1e-5 : 1e-10;
    const TemporaryFolder folder;
    const Settings settings = backend + kRandomDraws + Settings{"training.steps=10"};
    const ProbeResult whole = run_probe(folder.path(), "whole", 1, settings),
                      four = run_probe(folder.path(), "four", 1,
                                       settings + Settings{"training.micro_batch_sequences=3"}),
                      ranks = run_probe(folder.path(), "ranks", 2,
                                        settings + Settings{"training.micro_batch_sequences=2"});
    EXPECT_LE(gradient_distance(four, whole), tolerance);
    EXPECT_LE(curve_distance(four.losses(), whole.losses()), tolerance);
    EXPECT_LE(gradient_distance(ranks, whole), tolerance);
    EXPECT_LE(curve_distance(ranks.losses(), whole.losses()), tolerance);
  }
}

/// The comparisons above are worth something only if they fail when a bucket is not reduced.
TEST(Buckets, OneThatIsNotReducedIsNoticed) {
  const TemporaryFolder folder;
  // The probe leaves a bucket out of MPI's calls, so gradients must go by them.
  const Settings settings = {"training.steps=10", "communication.shared_memory=false"};
  const ProbeResult reference = run_probe(folder.path(), "one", 1, settings);
  ASSERT_GE(reference.buckets(), 5);
  for (const int bucket : {0, reference.buckets() / 2, reference.buckets() - 1}) {
    SCOPED_TRACE(fmt::format("bucket {} of {}", bucket, reference.buckets()));
    const ProbeResult faulty =
        run_probe(folder.path(), fmt::format("without_{}", bucket), 2, settings, bucket);
    double worst = 0;
    for (const auto& [name, distance] : gradient_distances(faulty, reference)) {
      if (reference.bucket(name) == bucket) {
        worst = std::max(worst, distance);
      } else {
        EXPECT_LE(distance, 1e-5) << name;
      }
    }
    EXPECT_GT(worst, 0.1) << "half of the batch is missing";
    EXPECT_GT(curve_distance(faulty.losses(), reference.losses()), 1e-5);
    EXPECT_NE(faulty.hashes()[0], faulty.hashes()[1]) << "replicas that drifted apart must show";
  }
}

}  // namespace
}  // namespace plumb::distributed

// Runs whose optimiser is sharded over the ranks beside runs in which every rank has all of it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "checkpoint/checkpoint.h"
#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using Settings = std::vector<std::string>;
using plumb::testing::TemporaryFolder;

Settings operator+(Settings left, const Settings& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

const Settings kSharded = {"optimizer.sharded=true"};
/// Buckets of one tensor and of many, whose parts begin and end inside tensors; a checkpoint at the end.
const Settings kCommon = {"communication.bucket_megabytes=0.01", "checkpoint.at_end=true",
                          "learning_rate.warmup_steps=2", "optimizer.learning_rate=3e-3"};
const Settings kDouble = {"device=reference", "compute.dtype=fp64"};
/// Messages to the owners; otherwise ranks of a host add in shared memory.
const Settings kMessages = {"communication.shared_memory=false"};
const Settings kNoClipping = {"optimizer.clip_norm=0"};
const Settings kClipping = {"optimizer.clip_norm=0.05"};

/// The largest difference of numbers at the same place, relative to the larger; infinite where the records
/// differ in anything else. Numbers below `noise` are equal.
double distance(const Json& a, const Json& b, double noise, const std::string& place, std::string* worst) {
  const auto infinite = [&](const std::string& where) {
    *worst = where;
    return std::numeric_limits<double>::infinity();
  };
  if (a.is_number() && b.is_number()) {
    const double x = a.get<double>(), y = b.get<double>();
    const double scale = std::max({std::abs(x), std::abs(y), noise});
    return std::abs(x - y) / scale;
  }
  if (a.type() != b.type() || a.size() != b.size()) return infinite(place);
  double largest = 0;
  const auto take = [&](double found, const std::string& where) {
    if (found > largest) {
      largest = found;
      *worst = where;
    }
  };
  if (a.is_object()) {
    for (const auto& [key, value] : a.items()) {
      if (!b.contains(key)) return infinite(place + "." + key);
      std::string inner = place + "." + key;
      take(distance(value, b.at(key), noise, inner, &inner), inner);
    }
  } else if (a.is_array()) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      std::string inner = fmt::format("{}[{}]", place, i);
      take(distance(a[i], b[i], noise, inner, &inner), inner);
    }
  } else if (a != b) {
    return infinite(place);
  }
  return largest;
}

/// What every step has logged, profiles and tensors included.
void expect_close_logs(const std::filesystem::path& run, const std::filesystem::path& reference,
                       double tolerance, double noise) {
  for (const char* name : {"metrics.jsonl", "stability.jsonl", "ranks.jsonl"}) {
    const std::vector<std::string> lines = lines_without_times(run / name),
                                   expected = lines_without_times(reference / name);
    ASSERT_EQ(lines.size(), expected.size()) << name;
    ASSERT_FALSE(lines.empty()) << name;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      std::string worst;
      const double found = distance(Json::parse(lines[i]), Json::parse(expected[i]), noise, "", &worst);
      ASSERT_LE(found, tolerance) << name << ", line " << i << ", " << worst << "\n"
                                  << lines[i] << "\n"
                                  << expected[i];
    }
  }
}

std::vector<double> values_of(const Tensor& tensor) {
  if (tensor.dtype == DType::Float64) return {tensor.as<double>(), tensor.as<double>() + tensor.elements()};
  return {tensor.as<float>(), tensor.as<float>() + tensor.elements()};
}

/// By tensor of the model and of the optimiser: |x - x*| / |x*|.
void expect_close_checkpoints(const std::filesystem::path& run, const std::filesystem::path& reference,
                              int step, double tolerance) {
  const Checkpoint own = load_checkpoint(checkpoint_folder(run, step)),
                   other = load_checkpoint(checkpoint_folder(reference, step));
  for (const auto& [file, expected] :
       {std::pair{&own.model, &other.model}, std::pair{&own.optimizer, &other.optimizer}}) {
    ASSERT_EQ(file->names(), expected->names());
    for (const std::string& name : file->names()) {
      if (file == &own.optimizer && name.rfind("momentum/", 0) != 0 && name.rfind("variance/", 0) != 0)
        continue;
      const std::vector<double> x = values_of(file->tensor(name)), y = values_of(expected->tensor(name));
      ASSERT_EQ(x.size(), y.size()) << name;
      double difference = 0, size = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        difference += (x[i] - y[i]) * (x[i] - y[i]);
        size += y[i] * y[i];
      }
      EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(size)) << name;
    }
  }
}

struct Case {
  std::string name;
  Settings settings;
};

const Case kCases[] = {
    {"adamw", {}},
    {"sgd", {"optimizer.kind=sgd", "optimizer.learning_rate=0.1"}},
    {"clipping", kClipping},
    {"accumulation", Settings{"training.micro_batch_sequences=2"} + kClipping},
    {"trained_knobs_and_dropout",
     {"model.placement=peri", "model.dropout.branch=0.1", "model.residual.b.trainable=vector"}},
    {"sphere", {"model.placement=ngpt", "optimizer.weight_decay=0"}},
    {"z_clip", {"spikes.action=skip", "spikes.z_clip=1.2", "spikes.z_clip_warmup_steps=5"}},
    {"tensor_clip", {"spikes.action=skip", "spikes.tensor_clip=1.02", "spikes.tensor_clip_warmup_steps=5"}},
};
void PrintTo(const Case& its, std::ostream* out) { *out << its.name; }

class Sharded : public ::testing::TestWithParam<Case> {
 protected:
  void train_both(int ranks, const Settings& settings) {
    const std::filesystem::path config = write_config(folder.path());
    train(ranks, config, sharded(), settings + kSharded);
    train(ranks, config, whole(), settings);
  }
  std::filesystem::path sharded() const { return folder.path() / "sharded"; }
  std::filesystem::path whole() const { return folder.path() / "whole"; }
  TemporaryFolder folder;
};

/// Sums of squares are added in another order, a tensor's parts first on their owners; the rest is the same.
TEST_P(Sharded, EqualsTheWholeInDoublePrecision) {
  train_both(3, kCommon + kDouble + kMessages + GetParam().settings);
  expect_close_logs(sharded(), whole(), 1e-9, 1e-9);
  expect_close_checkpoints(sharded(), whole(), 20, 1e-10);
}

TEST_P(Sharded, EqualsTheWholeInSinglePrecision) {
  train_both(3, kCommon + GetParam().settings);
  EXPECT_LE(curve_distance(loss_curve(sharded()), loss_curve(whole())), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Cases, Sharded, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

using ShardedRun = Sharded;

/// A sum of two is the same in either order, and without clipping no sum of squares reaches the parameters.
TEST_F(ShardedRun, OnTwoRanksWithoutClippingHasTheSameBits) {
  for (const Settings& settings :
       {kMessages, kMessages + Settings{"compute.dtype=bf16"}, kMessages + Settings{"optimizer.kind=sgd"},
        kMessages + Settings{"training.micro_batch_sequences=2"}, Settings{"compute.dtype=bf16"},
        kMessages + Settings{"communication.gradient_dtype=bf16"}}) {
    SCOPED_TRACE(settings.back());
    std::filesystem::remove_all(sharded());
    std::filesystem::remove_all(whole());
    train_both(2, kCommon + kNoClipping + settings);
    expect_close_checkpoints(sharded(), whole(), 20, 0);
    EXPECT_EQ(loss_curve(sharded()), loss_curve(whole()));
    expect_close_logs(sharded(), whole(), 1e-4, 1e-6);
  }
}

TEST_F(ShardedRun, InSharedMemoryWithoutClippingHasTheSameBits) {
  train_both(3, kCommon + kNoClipping);
  expect_close_checkpoints(sharded(), whole(), 20, 0);
  EXPECT_EQ(loss_curve(sharded()), loss_curve(whole()));
}

TEST_F(ShardedRun, InBrainFloatsWithClipping) {
  train_both(3, kCommon + kClipping + Settings{"compute.dtype=bf16"});
  EXPECT_LE(curve_distance(loss_curve(sharded()), loss_curve(whole())), 1e-3);
}

TEST_F(ShardedRun, OnOneRankIsTheSameRun) {
  train_both(1, kCommon + kClipping);
  expect_same_logs(sharded(), whole());
  expect_same_checkpoint(sharded(), whole(), 20);
}

TEST_F(ShardedRun, HasItsShareOfTheStateOnEveryRank) {
  const Settings settings = Settings{"training.steps=1"} + kCommon;
  for (const auto& [kind, states] : {std::pair{"adamw", 2}, std::pair{"sgd", 1}}) {
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(fmt::format("{} on {} ranks", kind, ranks));
      std::filesystem::remove_all(sharded());
      std::filesystem::remove_all(whole());
      train_both(ranks, settings + Settings{fmt::format("optimizer.kind={}", kind)});
      const auto planned = [](const std::filesystem::path& run, const char* what) {
        return Json::parse(std::ifstream(run / "manifest.json"))
            .at("memory")
            .at("planned")
            .at(what)
            .get<double>();
      };
      // Not all of it is state: there are sums for each tensor.
      const double sums = planned(whole(), "optimiser") - states * planned(whole(), "gradients");
      EXPECT_EQ(planned(sharded(), "optimiser") - sums, states * planned(sharded(), "gradients") / ranks);
      const auto names = load_checkpoint(checkpoint_folder(whole(), 1)).model.names();
      const double padding = planned(sharded(), "gradients") - planned(whole(), "gradients");
      EXPECT_GE(padding, 0);
      EXPECT_LE(padding, 64 * (ranks - 1) * static_cast<double>(names.size()));
    }
  }
}

TEST_F(ShardedRun, MeasuresTheSameSharpness) {
  train_both(2, kCommon + kDouble + Settings{"training.steps=4", "sharpness.every=2"});
  expect_close_logs(sharded(), whole(), 1e-6, 1e-9);
}

/// Interrupted between its checkpoints of steps 10 and 20.
std::filesystem::path killed_copy(const std::filesystem::path& run, const std::filesystem::path& copy) {
  std::filesystem::copy(run, copy, std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(checkpoint_folder(copy, 20));
  return copy;
}

TEST_F(ShardedRun, GoesOnWithTheSameBits) {
  const std::filesystem::path config = write_config(folder.path());
  const Settings settings =
      kCommon + kSharded + kClipping + Settings{"checkpoint.every=10", "model.dropout.branch=0.1"};
  train(3, config, sharded(), settings);
  const std::filesystem::path killed = killed_copy(sharded(), folder.path() / "killed");
  train(3, config, killed, settings, "--resume auto");
  expect_same_logs(killed, sharded());
  expect_same_checkpoint(killed, sharded(), 20);
}

TEST_F(ShardedRun, GoesOnShardedOrNotOnAnyNumberOfRanks) {
  const std::filesystem::path config = write_config(folder.path());
  const Settings settings = kCommon + kDouble + Settings{"checkpoint.every=10"};
  train(1, config, whole(), settings);
  train(2, config, sharded(), settings + kSharded);
  int number = 0;
  const auto goes_on = [&](const std::filesystem::path& run, int ranks, const Settings& further) {
    SCOPED_TRACE(fmt::format("{} on {} ranks, {}", run.filename().string(), ranks,
                             further.empty() ? "whole" : "sharded"));
    const std::filesystem::path killed = killed_copy(run, folder.path() / fmt::format("killed_{}", number++));
    train(ranks, config, killed, settings + further, "--resume auto");
    EXPECT_LE(curve_distance(loss_curve(killed), loss_curve(whole())), 1e-10);
    expect_close_checkpoints(killed, whole(), 20, 1e-8);
  };
  goes_on(sharded(), 1, {});
  goes_on(sharded(), 2, {});
  goes_on(sharded(), 3, kSharded);
  goes_on(whole(), 3, kSharded);
}

/// Every owner overwrites what the others hold of its part with the next update, so a difference lives for a
/// step: it is looked for in every one.
TEST_F(ShardedRun, TellsThatAReplicaHasDrifted) {
  const std::filesystem::path config = write_config(folder.path()), run = sharded();
  constexpr int kRanks = 4, kFaultStep = 5;
  for (int rank = 0; rank < kRanks; rank += 3) {
    SCOPED_TRACE(fmt::format("rank {}", rank));
    std::filesystem::remove_all(run);
    const Outcome outcome = shell(mpirun(
        kRanks,
        fmt::format("{} {} flipped-bit {} {} run.dir={} training.steps=10 alarms.replicas_every=1 {}",
                    PLUMB_FAULTY_RANK, config.string(), rank, kFaultStep, run.string(), kSharded.front())));
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    std::vector<Json> drifts;
    for (const Json& event : read_records(run / "events.jsonl")) {
      if (event.at("kind") == "replica_drift") drifts.push_back(event);
    }
    ASSERT_EQ(drifts.size(), 1U);
    EXPECT_EQ(drifts[0].at("step"), kFaultStep + 1);
    EXPECT_EQ(drifts[0].at("ranks"), Json::array({rank}));
    EXPECT_EQ(drifts[0].at("tensor"), "blocks.1.ffn.expand.weight");
  }
}

}  // namespace
}  // namespace plumb::distributed

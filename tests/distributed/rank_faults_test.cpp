// Faults planted on one of four ranks are events of the run that name rank and step, and the tensor where the
// fault has one; clean runs have no such event.
//
// The environment says how much of it is run (launch/rank_faults.sh): PLUMB_FAULT_SEEDS seeds (1), clean runs
// of PLUMB_CLEAN_STEPS steps (120), PLUMB_DEVICE.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

constexpr int kRanks = 4, kFaultStep = 60, kReplicasEvery = 25;

int number(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

std::filesystem::path write_deep_config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.toml";
  testing::write_bytes(file, R"(device = "cpu"
compute = { dtype = "fp32", threads = 1 }
model = { blocks = 8, width = 64, heads = 4, sequence_length = 32, placement = "peri" }
data = { kind = "markov", synthetic_vocabulary = 64, synthetic_order = 1 }
training = { sequences_per_step = 48 }
optimizer.learning_rate = 1e-3
learning_rate = { kind = "constant", warmup_steps = 10 }
communication.timeout_seconds = 120
validation.at_end = false
log = { console_every = 0, stability_every = 10, ranks_every = 1 }
checkpoint.at_end = false
)");
  return file;
}

/// The events about ranks of a run with a fault of this kind on this rank.
std::vector<Json> events(const std::string& fault, int rank, int seed, int steps,
                         int fault_step = kFaultStep) {
  const TemporaryFolder folder;
  const char* device = std::getenv("PLUMB_DEVICE");
  const std::filesystem::path run = folder.path() / "run";
  const Outcome outcome = shell(mpirun(
      kRanks,
      fmt::format("{} {} {} {} {} run.dir={} training.steps={} training.seed={} device={} "
                  "alarms.replicas_every={}",
                  PLUMB_FAULTY_RANK, write_deep_config(folder.path()).string(), fault, rank, fault_step,
                  run.string(), steps, seed, device == nullptr ? "cpu" : device, kReplicasEvery)));
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  std::vector<Json> found;
  for (const Json& event : read_records(run / "events.jsonl")) {
    const std::string kind = event.at("kind");
    if (kind.rfind("rank_", 0) != 0 && kind != "replica_drift") continue;
    EXPECT_NE(outcome.output.find(event.at("text").get<std::string>()), std::string::npos)
        << "the console says it too: " << event;
    found.push_back(event);
  }
  return found;
}

std::string all_of(const std::vector<Json>& events) {
  std::string text;
  for (const Json& event : events) text += event.dump() + "\n";
  return text;
}

struct PlantedFault {
  std::string name;
  std::vector<std::string> kinds;  ///< of events that name it; at least one must come, and no other
  int latest;                      ///< step
  std::string tensor = {};
};
void PrintTo(const PlantedFault& fault, std::ostream* out) { *out << fault.name; }

class Planted : public ::testing::TestWithParam<PlantedFault> {};

const PlantedFault kFaults[] = {
    {"noise", {"rank_loss", "rank_gradient"}, kFaultStep + 20},
    {"scaled-gradient", {"rank_gradient"}, kFaultStep + 20},
    {"flipped-bit", {"replica_drift"}, kFaultStep + kReplicasEvery, "blocks.1.ffn.expand.weight"},
    {"nan", {"rank_nonfinite"}, kFaultStep},
    {"slow", {"rank_slow"}, kFaultStep + 20}};

TEST_P(Planted, IsNamed) {
  const PlantedFault& fault = GetParam();
  for (int seed = 1; seed <= number("PLUMB_FAULT_SEEDS", 1); ++seed) {
    const int rank = seed % kRanks;
    const std::vector<Json> found = events(fault.name, rank, seed, fault.latest);
    ASSERT_FALSE(found.empty()) << "seed " << seed;
    for (const Json& event : found) {
      EXPECT_THAT(fault.kinds, ::testing::Contains(event.at("kind"))) << event;
      EXPECT_EQ(event.at("ranks"), Json::array({rank})) << event;
      EXPECT_EQ(event.at("hosts").size(), 1U) << event;
      EXPECT_GE(event.at("step"), kFaultStep) << event;
      EXPECT_LE(event.at("step"), fault.latest) << event;
      EXPECT_EQ(event.value("tensor", ""), fault.tensor) << event;
    }
    fmt::print("{} on rank {}, seed {}: {}", fault.name, rank, seed, all_of(found));
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, Planted, ::testing::ValuesIn(kFaults), [](const auto& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(CleanRuns, HaveNoEventAboutARank) {
  for (int seed = 1; seed <= number("PLUMB_FAULT_SEEDS", 1); ++seed) {
    const std::vector<Json> found = events("none", 0, seed, number("PLUMB_CLEAN_STEPS", 120));
    EXPECT_TRUE(found.empty()) << "seed " << seed << "\n" << all_of(found);
  }
}

}  // namespace
}  // namespace plumb::distributed

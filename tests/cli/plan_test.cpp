// plumb plan and plumb doctor --bandwidth from outside: what they print, and what they say of bad input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "program.h"
#include "tiny_run.h"

namespace plumb::test {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr const char* kFabric = R"({"plumb_fabric": 2, "library": "mpi", "ranks": 2, "hosts": 1, "inside": {
  "sums": {"latency_seconds": 1e-6, "seconds_per_byte": 1e-10, "hidden": 0, "seconds_per_poll": 1e9, "worst_residual": 0.1},
  "to_owners": {"latency_seconds": 1e-6, "seconds_per_byte": 1e-10, "hidden": 0, "seconds_per_poll": 1e9, "worst_residual": 0.1},
  "gathers": {"latency_seconds": 1e-6, "seconds_per_byte": 1e-10, "hidden": 0, "seconds_per_poll": 1e9, "worst_residual": 0.1}},
  "between": null, "flops_per_second": 1e10})";

Outcome plan(const Folder& folder, std::vector<std::string> more, int ranks = 1) {
  std::vector<std::string> arguments = {"plan", folder / "config.toml"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_plumb(folder, ranks, arguments);
}

Json plan_of(const Folder& folder, std::vector<std::string> more, int ranks = 1) {
  more.insert(more.end(), {"--json"});
  const Outcome outcome = plan(folder, std::move(more), ranks);
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  return Json::parse(outcome.out, nullptr, false);
}

void expect_refused(const Outcome& outcome, const std::string& said) {
  EXPECT_EQ(outcome.status, 2) << outcome.text();
  ASSERT_EQ(outcome.plumb_lines().size(), 1u) << outcome.text();
  EXPECT_THAT(outcome.plumb_lines().front(), HasSubstr(said));
}

TEST(Plan, ItemsOfMemoryAddUp) {
  const Folder folder;
  write_tiny_run(folder);
  const Json json = plan_of(folder, {"--ranks", "1,4"});
  ASSERT_EQ(json.at("worlds").size(), 2u);
  EXPECT_EQ(json.at("worlds").at(1).at("ranks"), 4);
  EXPECT_EQ(json.at("worlds").at(1).at("sequences_per_step"), 16) << "those of a rank stay";
  EXPECT_FALSE(json.at("worlds").at(0).contains("step")) << "no fabric, no time";
  for (const Json& world : json.at("worlds")) {
    const Json& memory = world.at("memory");
    std::int64_t sum = 0, most = 0;
    for (const Json& bytes : memory.at("in_every_step")) sum += bytes.get<std::int64_t>();
    for (const Json& bytes : memory.at("while")) most = std::max(most, bytes.get<std::int64_t>());
    EXPECT_EQ(memory.at("step_bytes"), sum);
    EXPECT_EQ(memory.at("peak_bytes"), sum + most);
    for (const char* item : {"parameters", "gradients", "optimiser", "activations", "statistics", "batch"})
      EXPECT_GT(memory.at("in_every_step").at(item), 0) << item;
    EXPECT_FALSE(memory.at("in_every_step").contains("other device memory"));
  }
}

TEST(Plan, IsARunsOwnManifest) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  const Json manifest = Json::parse(read_file(folder / "run/manifest.json"));
  const Json items = plan_of(folder, {"--ranks", "1"}).at("worlds").at(0).at("memory").at("in_every_step");
  for (const auto& [name, bytes] : manifest.at("memory").at("planned").items()) {
    if (bytes > 0) {
      EXPECT_EQ(items.at(name), bytes) << name;
    }
  }
}

// Every second step has a record, every fourth a detailed one; headers
// are not of a step. What a step does not have is left out of a real run, so that its files are smaller.
TEST(Plan, LogIsOfTheSizeThatARunWrites) {
  const Folder folder;
  write_tiny_run(folder);
  const std::vector<std::string> settings = {
      "--set", "training.steps=16",         "--set", "log.stability_every=2",
      "--set", "statistics.detail_every=2", "--set", "log.ranks_every=4"};
  ASSERT_EQ(train_tiny(folder, 1, settings).status, 0);
  std::vector<std::string> arguments = {"--ranks", "1"};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  const Json log = plan_of(folder, arguments).at("worlds").at(0).at("log_bytes_per_step");
  const auto written = [&](const std::string& file, std::size_t headers) {
    std::size_t bytes = 0;
    const std::vector<std::string> lines = lines_of(read_file(folder / ("run/" + file)));
    // Not the first step's, which is outside every cadence.
    for (std::size_t i = headers + 1; i < lines.size(); ++i) bytes += lines[i].size() + 1;
    return static_cast<double>(bytes);
  };
  const auto expect_near = [&](const std::string& file, double bytes, double steps, double least) {
    const double planned = log.at(file).get<double>() * steps;
    EXPECT_LT(bytes, planned) << file;
    EXPECT_GT(bytes, least * planned) << file;
  };
  expect_near("metrics.jsonl", written("metrics.jsonl", 0), 15, 0.5);
  expect_near("stability.jsonl", written("stability.jsonl", 1), 16, 0.75);
  EXPECT_GT(log.at("ranks.jsonl").get<double>(), 0);
}

TEST(Plan, WithAFabricThereAreTimes) {
  const Folder folder;
  write_tiny_run(folder);
  write_file(folder / "fabric.json", kFabric);
  const Json json =
      plan_of(folder, {"--ranks", "1,2,64", "--fabric", folder / "fabric.json", "--steps", "2"});
  EXPECT_EQ(json.at("ranks_per_host"), 2) << "as it was measured";
  const Json& worlds = json.at("worlds");
  EXPECT_DOUBLE_EQ(worlds.at(0).at("step").at("efficiency").get<double>(), 1);
  EXPECT_FALSE(worlds.at(0).at("step").at("extrapolated"));
  EXPECT_FALSE(worlds.at(1).at("step").at("extrapolated"));
  EXPECT_GT(worlds.at(1).at("step").at("exposed_seconds"), 0);
  EXPECT_TRUE(worlds.at(2).at("step").is_null());
  EXPECT_THAT(worlds.at(2).at("no_step").get<std::string>(), HasSubstr("no speed between hosts"));
  const Json wide = plan_of(
      folder, {"--ranks", "4", "--ranks-per-host", "4", "--fabric", folder / "fabric.json", "--steps", "0"});
  EXPECT_TRUE(wide.at("worlds").at(0).at("step").at("extrapolated"));
  const double flops = wide.at("flops_per_step").get<double>();
  EXPECT_NEAR(wide.at("computing").at("seconds").get<double>(), flops / 1e10, 1e-9 + 1e-6 * flops / 1e10);
}

TEST(Plan, PrintsItsTables) {
  const Folder folder;
  write_tiny_run(folder);
  write_file(folder / "fabric.json", kFabric);
  const Outcome outcome =
      plan(folder, {"--ranks", "1,2,4", "--fabric", folder / "fabric.json", "--steps", "1"});
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  for (const char* text : {"activations", "at most", "process before it builds", "step ms", "efficiency",
                           "calibrated", "shared memory", "no speed between hosts"})
    EXPECT_THAT(outcome.out, HasSubstr(text));
}

TEST(Plan, BadInputIsOneLine) {
  const Folder folder;
  write_tiny_run(folder);
  write_file(folder / "fabric.json", std::string(kFabric).replace(1, 0, "\"speed\": 1, "));
  expect_refused(plan(folder, {"--fabric", folder / "fabric.json"}), "fabric.json: unknown key 'speed'");
  expect_refused(plan(folder, {"--fabric", folder / "none.json"}), "none.json: cannot be read");
  expect_refused(plan(folder, {"--ranks", "0"}), "--ranks");
  expect_refused(plan(folder, {"--ranks", "4097"}), "--ranks");
  expect_refused(plan(folder, {"--steps", "-1"}), "--steps");
  expect_refused(plan(folder, {"--strong", "--ranks", "3"}), "cannot be split over 3 ranks");
  expect_refused(plan(folder, {"--set", "model.blocks=-1"}), "model.blocks");
}

TEST(DoctorBandwidth, OneRankSaysWhatItCannotMeasure) {
  const Folder folder;
  const Outcome outcome = run_plumb(folder, 1, {"doctor", "--bandwidth", "--rounds", "1", "--device", "cpu"});
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("GFLOP/s"));
  EXPECT_THAT(outcome.out, HasSubstr("the speed inside a host is not measured"));
  EXPECT_THAT(outcome.out, HasSubstr("the speed between hosts is not measured"));
}

TEST(DoctorBandwidth, BadInputIsOneLine) {
  const Folder folder;
  expect_refused(run_plumb(folder, 1, {"doctor", "--output", "x.json"}), "--bandwidth");
  expect_refused(run_plumb(folder, 1, {"doctor", "--bandwidth", "--rounds", "0"}), "--rounds");
  expect_refused(run_plumb(folder, 1, {"doctor", "--bandwidth", "--inside", folder / "none.json"}),
                 "none.json: cannot be read");
  expect_refused(
      run_plumb(folder, 1, {"doctor", "--bandwidth", "--rounds", "1", "--output", "/nowhere/fabric.json"}),
      "/nowhere/fabric.json: cannot be written");
}

}  // namespace
}  // namespace plumb::test

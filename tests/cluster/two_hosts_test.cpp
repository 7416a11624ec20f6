// Training over two hosts that share nothing but a network (two_hosts.sh) is training on one.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"
#include "distributed/probe_result.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kNotHere = 77;  // two_hosts.sh's status
constexpr double kTolerance = 1e-5;

std::string text_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// Runs a command of the shell on host-a, in a folder that on host-a is folder/host-a and on host-b
/// folder/host-b.
Outcome on_two_hosts(const std::filesystem::path& folder, const std::string& command) {
  const std::filesystem::path script = folder / "host-a" / "command.sh";
  std::ofstream(script) << command << "\n";
  return shell(
      fmt::format("{}/tests/cluster/two_hosts.sh {} sh -e command.sh", PLUMB_SOURCE_DIR, folder.string()));
}

class TwoHosts : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(hosts() / "host-a");
    std::filesystem::create_directories(hosts() / "host-b");
    const Outcome outcome = on_two_hosts(hosts(), "hostname");
    if (outcome.status == kNotHere) GTEST_SKIP() << outcome.output;
    ASSERT_EQ(outcome.status, 0) << outcome.output;
    ASSERT_THAT(outcome.output, HasSubstr("host-a"));
    write_config(hosts() / "host-a");
    std::ofstream(hosts() / "host-a" / "hosts.txt") << "host-a slots=1\nhost-b slots=1\n";
  }
  std::filesystem::path hosts() const { return folder_.path() / "hosts"; }
  std::filesystem::path on_first(const std::string& name) const { return hosts() / "host-a" / name; }
  std::filesystem::path on_second(const std::string& name) const { return hosts() / "host-b" / name; }
  std::string device() const { return "device=" + GetParam(); }

  const TemporaryFolder folder_;
};

/// Bytes that have left host-a by the cable so far.
constexpr const char* kPrintBytes = "awk '/cable/ {print \"sent\", $10}' /proc/net/dev";

TEST_P(TwoHosts, HaveTheGradientsOfOne) {
  const std::vector<std::string> settings = {"training.steps=20", "learning_rate.warmup_steps=0", device()};
  const ProbeResult one = run_probe(folder_.path(), "one_host", 2, settings);
  const Outcome outcome = on_two_hosts(
      hosts(), fmt::format("mpirun --hostfile hosts.txt --bind-to none --mca btl_tcp_if_include cable "
                           "--mca oob_tcp_if_include cable {} config.toml probe.safetensors "
                           "run.dir=run '{}'\n{}",
                           PLUMB_DISTRIBUTED_PROBE, fmt::join(settings, "' '"), kPrintBytes));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const ProbeResult two(on_first("probe.safetensors"), loss_curve(on_first("run")));

  const double first = gradient_distance(two, one), later = gradient_distance(two, one, When::Later),
               curve = curve_distance(two.losses(), one.losses());
  std::printf(
      "two hosts against one: gradients of step 1 within %.2g, of step 5 within %.2g, losses within %.2g\n",
      first, later, curve);
  EXPECT_LE(first, kTolerance);
  EXPECT_LE(later, kTolerance);
  EXPECT_LE(curve, kTolerance);
  ASSERT_EQ(two.losses().size(), 20U);
  // A run that learns nothing would hide differences of the updates.
  EXPECT_GT(std::abs(two.losses().front() - two.losses().back()), 1e-3);
  EXPECT_EQ(two.hashes().at(0), two.hashes().at(1)) << "the ranks' parameters differ";

  // Gradients went over the cable: there is no other way, but they might not have gone at all.
  const std::size_t at = outcome.output.rfind("sent ");
  ASSERT_NE(at, std::string::npos) << outcome.output;
  EXPECT_GT(std::stoll(outcome.output.substr(at + 5)), 20 * 4000);
}

TEST_P(TwoHosts, TrainByOneCommandFromTheFilesOfTheFirst) {
  const Outcome outcome = on_two_hosts(
      hosts(), fmt::format("PLUMB_INTERFACE=cable PLUMB_PROGRAM={} {}/launch/hosts.sh hosts.txt config.toml "
                           "--set training.steps=20 --set run.dir=run --set {} --set checkpoint.at_end=true",
                           PLUMB_PROGRAM, PLUMB_SOURCE_DIR, device()));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(loss_curve(on_first("run")).size(), 20U);
  const Json manifest = Json::parse(text_of(on_first("run") / "manifest.json"));
  EXPECT_THAT(manifest.at("hosts").get<std::vector<std::string>>(), ElementsAre("host-a", "host-b"));
  EXPECT_TRUE(std::filesystem::exists(checkpoint_folder(on_first("run"), 20)));
  EXPECT_FALSE(std::filesystem::exists(on_second("run"))) << "only rank 0 writes";
  EXPECT_FALSE(std::filesystem::exists(on_second("config.toml"))) << "the hosts share a file system";
}

/// The same, as on GPUs: so many ranks on each host, whatever its slots.
TEST_P(TwoHosts, TrainWithRanksForTheGpusOfEach) {
  const Outcome outcome =
      on_two_hosts(hosts(), fmt::format("printf 'host-a\nhost-b\n' >names.txt\n"
                                        "PLUMB_GPUS_PER_HOST=1 PLUMB_INTERFACE=cable PLUMB_PROGRAM={} "
                                        "{}/launch/hosts.sh names.txt config.toml --set training.steps=2 "
                                        "--set run.dir=run --set {}",
                                        PLUMB_PROGRAM, PLUMB_SOURCE_DIR, device()));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const Json manifest = Json::parse(text_of(on_first("run") / "manifest.json"));
  EXPECT_THAT(manifest.at("hosts").get<std::vector<std::string>>(), ElementsAre("host-a", "host-b"));
}

TEST_P(TwoHosts, HaveTheVariablesOfTheFirst) {
  const std::filesystem::path program = folder_.path() / "show.sh";
  std::ofstream(program) << "#!/bin/sh\necho $(hostname) $NCCL_ALGO $NCCL_SOCKET_IFNAME $UCX_TLS \"$*\"\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const Outcome outcome = on_two_hosts(
      hosts(), fmt::format("NCCL_ALGO=Ring UCX_TLS=self PLUMB_INTERFACE=cable PLUMB_GPUS_PER_HOST=1 "
                           "PLUMB_PROGRAM={} {}/launch/hosts.sh hosts.txt config.toml",
                           program.string(), PLUMB_SOURCE_DIR));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  for (const char* host : {"host-a", "host-b"}) {
    EXPECT_THAT(outcome.output,
                HasSubstr(fmt::format("{} Ring cable self train config.toml --set device=\"cuda\"", host)));
  }
}

/// What one host cannot see ends all ranks, with its name.
TEST_P(TwoHosts, SayWhichOfThemLacksAFile) {
  std::ofstream(on_first("train.bin"), std::ios::binary) << std::string(4000, '\0');
  std::ofstream(on_first("tokens.toml")) << R"(
model = { blocks = 1, width = 16, heads = 2, sequence_length = 16 }
data = { kind = "tokens", train = "train.bin" }
training = { steps = 1, sequences_per_step = 2 }
run.dir = "run"
)";
  const Outcome outcome = on_two_hosts(
      hosts(),
      fmt::format("PLUMB_INTERFACE=cable PLUMB_PROGRAM={} {}/launch/hosts.sh hosts.txt tokens.toml --set {}",
                  PLUMB_PROGRAM, PLUMB_SOURCE_DIR, device()));
  EXPECT_EQ(outcome.status, 2) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("train.bin"));
  EXPECT_THAT(outcome.output, HasSubstr("(rank 1 of 2, host host-b)"));
  EXPECT_FALSE(std::filesystem::exists(on_first("run")));
}

std::vector<std::string> devices() {
  const char* chosen = std::getenv("PLUMB_CLUSTER_DEVICES");  // separated by spaces
  std::istringstream words(chosen != nullptr ? chosen : "cpu");
  return {std::istream_iterator<std::string>(words), {}};
}
INSTANTIATE_TEST_SUITE_P(Devices, TwoHosts, ::testing::ValuesIn(devices()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace plumb::distributed

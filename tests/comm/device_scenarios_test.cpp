// Failures of devices and of collectives over their memory, seen from outside: one line that says what, which
// rank, which device and where in the source; the status; and that nobody stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "child_runs.h"

namespace plumb::test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;

/// Three ranks in an environment ("NAME=value ...") that the emulated device understands
/// (tests/emulation/README.md).
Outcome run_in(const std::string& environment, const std::string& scenario = "train") {
  const std::string word = "device-scenario-of-" + std::to_string(getpid());
  const Outcome outcome = shell("env " + environment + " " +
                                mpirun(3, std::string(PLUMB_DEVICE_SCENARIOS) + " " + scenario + " " + word));
  EXPECT_EQ(processes_naming(word), 0) << "a rank is left";
  return outcome;
}

/// The same with a fault that the emulated libraries play.
Outcome run(const std::string& fault, const std::string& scenario = "train") {
  return run_in("PLUMB_EMULATION_FAULT=" + fault, scenario);
}

/// All ranks ended soon, with status 1 and one line of ours.
void expect_one_line(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_LT(outcome.seconds, 30) << outcome.output;
  EXPECT_EQ(count(outcome.output, "scenario: "), 1) << outcome.output;
}

TEST(DeviceScenarios, WithoutAFaultAllGoesWell) {
  const Outcome outcome = run("");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("scenario went well"));
}

TEST(DeviceScenarios, ADeviceWithoutMemoryIsNamed) {
  const Outcome outcome = run("rank=1:malloc@1");
  expect_one_line(outcome);
  EXPECT_THAT(outcome.output, AllOf(ContainsRegex("scenario: [^ ]*cuda_backend.cpp:[0-9]+: "),
                                    HasSubstr("CUDA: out of memory"), HasSubstr("in `cudaMalloc("),
                                    HasSubstr("(host " + this_host() + ", rank 1, device 1)")));
}

TEST(DeviceScenarios, AProductWithAWrongLeadingDimensionIsNamed) {
  const Outcome outcome = run("rank=2:leading-dimension@2");
  expect_one_line(outcome);
  EXPECT_THAT(outcome.output, AllOf(ContainsRegex("scenario: [^ ]*matrix_product.cpp:[0-9]+: "),
                                    HasSubstr("in `cublasLtMatmul("), HasSubstr("leading dimension 15 of"),
                                    HasSubstr("(host " + this_host() + ", rank 2, device 2)")));
}

TEST(DeviceScenarios, AnAsynchronousErrorIsNamed) {
  const Outcome outcome = run("rank=1:nccl-async@7");
  expect_one_line(outcome);
  EXPECT_THAT(outcome.output,
              AllOf(ContainsRegex(
                        "scenario: [^ ]*nccl_communicator.cpp:[0-9]+: NCCL: collective 'gradient bucket 2' "),
                    HasSubstr("(all_reduce, number "), HasSubstr("network error"),
                    HasSubstr("ncclAllReduce("), HasSubstr("(host " + this_host() + ", rank 1, device 1)")));
}

TEST(DeviceScenarios, ASkippedCollectiveMeetsItsDeadline) {
  // The last one of a step, so that no other takes its place.
  const Outcome outcome = run("rank=1:nccl-skip@8");
  expect_one_line(outcome);
  EXPECT_THAT(
      outcome.output,
      AllOf(
          ContainsRegex("scenario: [^ ]*nccl_communicator.cpp:[0-9]+: NCCL: collective 'gradient bucket 3' "),
          HasSubstr("not through after 2 s"), HasSubstr("ncclAllReduce("),
          HasSubstr("(host " + this_host() + ", rank 0, device 0)"), HasSubstr("rank 2 waits in it too")));
  EXPECT_THAT(outcome.output,
              HasSubstr("rank 1 (host " + this_host() + ") waits in 'step statistics' instead"));
}

TEST(DeviceScenarios, ARankThatGoesAnotherWayIsNamed) {
  const Outcome outcome = run("", "skip");
  expect_one_line(outcome);
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("collective 'gradient bucket 0' (all_reduce, number "),
                    HasSubstr("not through after 2 s"),
                    HasSubstr("rank 1 (host " + this_host() + ") waits in 'step statistics' instead"),
                    HasSubstr("rank 2 waits in it too")));
}

TEST(DeviceScenarios, TooFewDevicesForTheRanksAreRefused) {
  const Outcome outcome = run_in("PLUMB_EMULATION_DEVICES=2");
  EXPECT_EQ(outcome.status, 2) << outcome.output;
  EXPECT_EQ(count(outcome.output, "scenario: "), 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("3 ranks on host " + this_host() + " but 2 GPUs"));
}

TEST(DeviceScenarios, RanksThatSeeTheSameOneDeviceAreRefused) {
  const Outcome outcome = run_in("CUDA_VISIBLE_DEVICES=5");
  EXPECT_EQ(outcome.status, 2) << outcome.output;
  EXPECT_EQ(count(outcome.output, "scenario: "), 1) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("rank 0 (host " + this_host() + ") and rank 1 (host " +
                                              this_host() + ") use the same GPU (0000:06:00.0 GPU-"),
                                    HasSubstr("CUDA_VISIBLE_DEVICES")));
}

/// As Slurm may do it.
TEST(DeviceScenarios, RanksThatSeeOneDeviceEachAreFine) {
  const Outcome outcome = shell(mpirun(3, "sh -c 'CUDA_VISIBLE_DEVICES=$OMPI_COMM_WORLD_RANK exec " +
                                              std::string(PLUMB_DEVICE_SCENARIOS) + "'"));
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("scenario went well"));
}

}  // namespace
}  // namespace plumb::test

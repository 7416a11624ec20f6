// What the environment says about a launch, and the words for failures of several ranks.
#include "comm/bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "comm/local_communicator.h"
#include "core/error.h"

namespace plumb {
namespace {
using testing::HasSubstr;
using testing::ThrowsMessage;

Launch launch_with(const std::map<std::string, std::string>& variables) {
  return detect_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

void expect_launch(const Launch& launch, Launcher launcher, int rank, int world, int local_rank,
                   int local_size) {
  EXPECT_EQ(launch.launcher, launcher);
  EXPECT_EQ(launch.rank, rank);
  EXPECT_EQ(launch.world, world);
  EXPECT_EQ(launch.local_rank, local_rank);
  EXPECT_EQ(launch.local_size, local_size);
}

TEST(DetectLaunch, ReadsEveryLauncher) {
  expect_launch(launch_with({}), Launcher::None, 0, 1, 0, 1);
  expect_launch(launch_with({{"OMPI_COMM_WORLD_SIZE", "6"},
                             {"OMPI_COMM_WORLD_RANK", "5"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                             {"SLURM_STEP_NUM_TASKS", "3"},
                             {"SLURM_PROCID", "2"}}),
                Launcher::OpenMpi, 5, 6, 1, 2);
  expect_launch(
      launch_with({{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}}),
      Launcher::ProcessManagementInterface, 3, 4, 1, 2);
  expect_launch(launch_with({{"SLURM_STEP_NUM_TASKS", "7"},
                             {"SLURM_PROCID", "6"},
                             {"SLURM_LOCALID", "0"},
                             {"SLURM_NODEID", "3"},
                             {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"}}),
                Launcher::Slurm, 6, 7, 0, 1);
  expect_launch(launch_with({{"SLURM_STEP_NUM_TASKS", "7"},
                             {"SLURM_PROCID", "5"},
                             {"SLURM_LOCALID", "1"},
                             {"SLURM_NODEID", "2"},
                             {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"}}),
                Launcher::Slurm, 5, 7, 1, 2);
}

TEST(DetectLaunch, ABatchScriptIsNotALaunch) {
  expect_launch(launch_with({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}), Launcher::None, 0, 1, 0, 1);
}

TEST(DetectLaunch, RefusesNonsense) {
  EXPECT_THAT(
      [] {
        launch_with({{"OMPI_COMM_WORLD_SIZE", "two"}});
      },
      ThrowsMessage<InputError>(HasSubstr("OMPI_COMM_WORLD_SIZE='two' is not a number")));
  EXPECT_THAT(
      [] {
        launch_with({{"PMI_SIZE", "2"}, {"PMI_RANK", "2"}});
      },
      ThrowsMessage<InputError>(HasSubstr("rank 2 in a world of 2 (PMI_SIZE=2)")));
  EXPECT_THROW(launch_with({{"OMPI_COMM_WORLD_SIZE", "0"}}), InputError);
}

TEST(MakeCommunicator, WithoutALauncherIsLocal) {
  const auto communicator = make_communicator(Launch{}, {.deadline = 7});
  EXPECT_NE(dynamic_cast<LocalCommunicator*>(communicator.get()), nullptr);
  EXPECT_EQ(communicator->deadline(), 7);
  EXPECT_EQ(process_identity().host, communicator->hosts()[0]);
  abort_all_ranks(3);  // MPI was never started: nothing to abort
}

TEST(AgreeOnFailure, OfOneRank) {
  LocalCommunicator communicator("here");
  EXPECT_TRUE(agree_on_failure(communicator, "").empty());
  const auto failures = agree_on_failure(communicator, "no such file: x");
  ASSERT_EQ(failures.size(), 1U);
  EXPECT_EQ(failures[0].rank, 0);
  EXPECT_EQ(failures[0].text, "no such file: x");
  EXPECT_EQ(failure_line(failures, communicator), "no such file: x");
}

}  // namespace
}  // namespace plumb

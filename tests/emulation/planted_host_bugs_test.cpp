// Ten bugs of host code, planted in a small training step: each is found under some schedule, and the correct
// step is clean under all of them.
#include <cstdio>

#include "clique.h"
#include "training_step.h"

namespace plumb::emulation {
namespace {

constexpr const char* kSchedules[] = {"eager",    "lazy",     "random:1", "random:2",
                                      "random:3", "random:4", "random:5"};

class PlantedBugs : public EmulatedRank {
 protected:
  ~PlantedBugs() override { set_nccl_timeout(60); }

  /// Runs under all schedules; the names of those under which some rank found something.
  static std::string found_under(Bug bug) {
    std::string schedules, what;
    for (const char* schedule : kSchedules) {
      set_schedule(schedule);
      const std::string found = run_training_step(bug);
      if (!found.empty()) what = found;
      if (largest(found.empty() ? 0 : 1) != 0) schedules += std::string(" ") + schedule;
    }
    if (rank() == 0) std::printf("found under:%s\n  %s\n", schedules.c_str(), what.c_str());
    return schedules;
  }
  static std::string all_schedules() {
    std::string all;
    for (const char* schedule : kSchedules) all += std::string(" ") + schedule;
    return all;
  }
};
using PlantedBugsDeathTest = PlantedBugs;

TEST_F(PlantedBugs, TheCorrectStepIsCleanUnderEverySchedule) { EXPECT_EQ(found_under(Bug::None), ""); }

// What one rank averages stays as it is, so that the next two show only between ranks.
TEST_F(PlantedBugs, MissingWaitBeforeTheAllReduce) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  EXPECT_THAT(found_under(Bug::ReduceBeforeProduct), testing::HasSubstr("random"));
}
TEST_F(PlantedBugs, MissingWaitBeforeTheReadBack) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  EXPECT_THAT(found_under(Bug::ReadBeforeReduce), testing::HasSubstr("lazy"));
}
TEST_F(PlantedBugs, MissingSynchronizeBeforeTheHostReads) {
  EXPECT_THAT(found_under(Bug::NoSynchronize), testing::HasSubstr("lazy"));
}
TEST_F(PlantedBugs, PinnedSourceOverwrittenInFlight) {
  EXPECT_THAT(found_under(Bug::SourceOverwritten), testing::HasSubstr("lazy"));
}
TEST_F(PlantedBugs, BadLeadingDimension) {
  EXPECT_EQ(found_under(Bug::BadLeadingDimension), all_schedules());
}
TEST_F(PlantedBugs, ResultOutOfBounds) { EXPECT_EQ(found_under(Bug::ResultOutOfBounds), all_schedules()); }

TEST_F(PlantedBugs, CountDiffersOnOneRank) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  EXPECT_EQ(found_under(Bug::CountDiffers), all_schedules());
}
TEST_F(PlantedBugs, OneRankSkipsACollective) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  set_nccl_timeout(0.3);
  EXPECT_EQ(found_under(Bug::CollectiveSkipped), all_schedules());
}

TEST_F(PlantedBugsDeathTest, HostCodeReadsDeviceMemory) {
  if (world() > 1) GTEST_SKIP() << "the process dies, which MPI does not like";
  EXPECT_DEATH(run_training_step(Bug::HostDereference), "host code touched device memory");
}

#ifdef __SANITIZE_ADDRESS__
TEST_F(PlantedBugsDeathTest, KernelWritesOneRowTooMany) {
  if (world() > 1) GTEST_SKIP() << "the process dies, which MPI does not like";
  EXPECT_DEATH(run_training_step(Bug::KernelOutOfBounds), "use-after-poison");
}
#else
TEST_F(PlantedBugs, KernelWritesOneRowTooMany) {
  EXPECT_EQ(found_under(Bug::KernelOutOfBounds), all_schedules());
}
#endif

}  // namespace
}  // namespace plumb::emulation

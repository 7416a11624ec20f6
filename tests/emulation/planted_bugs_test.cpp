// Every planted bug is found by the modes that can find it, and correct kernels are clean in all modes. The
// modes: threads in three orders, the address and undefined-behaviour sanitizers, the thread sanitizer.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "cli/program.h"

namespace plumb::test {
namespace {

using testing::ContainsRegex;

const char* const kOrders[] = {"forward", "reverse", "random:1"};

struct Found {
  bool found = false;
  std::string text;
};

/// "right" and nothing else means that nothing was found.
Found run(const char* program, const std::string& bug, const std::string& order,
          const std::string& parameter) {
  const Folder folder;
  const Outcome outcome =
      Running(folder, {program, bug, order, parameter}, {"ASAN_OPTIONS", "TSAN_OPTIONS"}).wait(30);
  EXPECT_NE(outcome.status, 2) << outcome.text();
  return {outcome.status != 0 || outcome.out != "right\n" || !outcome.error.empty(), outcome.text()};
}

struct Bug {
  std::string name;
  /// What each mode must say, as a regular expression; empty: nothing is asked of it.
  std::string plainly = {}, address = {}, thread = {};
  std::string parameter = "-1";
};
void PrintTo(const Bug& bug, std::ostream* out) { *out << bug.name; }
template <class Case>
std::string name_of_case(const testing::TestParamInfo<Case>& info) {
  return info.param.name + (info.param.parameter == "-1" ? "" : "_" + info.param.parameter);
}

const char* const kRace = "WARNING: ThreadSanitizer: data race";
const char* const kWrong = "wrong: element";

const std::vector<Bug> kBugs = {
    {"missing_barrier_before_read", kWrong, "", kRace},
    {"missing_barrier_before_next_write", kWrong, "", kRace},
    {"barrier_in_two_branches", "divergent barrier", "divergent barrier", "divergent barrier"},
    {"shuffle_after_threads_ended", "which has ended", "which has ended", "which has ended"},
    {"shuffle_of_every_other_lane", "deadlock", "deadlock", "deadlock"},
    {"static_shared_overrun", "written to beyond its end", "index 64 out of bounds"},
    {"dynamic_shared_overrun", "written to beyond its end", "use-after-poison"},
    {"global_overrun", "", "heap-buffer-overflow"},
    {"misaligned_vector", "", "misaligned address"},
    {"uninitialised_shared", kWrong, kWrong, kWrong},
    {"blocks_write_one_address", "", "", kRace},
    {"lock_step_assumed", kWrong, "", kRace},
    {"shuffle_taken_for_a_fence", "", "", kRace},
    // Beyond the thirteen of the first list.
    {"missing_wait_for_copies", kWrong, kWrong, kWrong},
    {"missing_barrier_after_copies", kWrong, "", kRace},
    {"distant_blocks_write_one_address", "", "", kRace, "1"},
    {"distant_blocks_write_one_address", "", "", kRace, "2"},
    {"distant_blocks_write_one_address", "", "", kRace, "4"},
    {"distant_blocks_write_one_address", "", "", kRace, "8"},
    // Detection stays switched on over blocks, launches and failures.
    {"late_race", "", "", kRace, "0"},
    {"late_race", "", "", kRace, "5"},
    {"late_race", "", "", kRace, "11"},
    {"late_race_after_failure", "", "", kRace, "7"},
};

class PlantedBug : public testing::TestWithParam<Bug> {};
INSTANTIATE_TEST_SUITE_P(Bugs, PlantedBug, testing::ValuesIn(kBugs), name_of_case<Bug>);

TEST_P(PlantedBug, IsFoundPlainly) {
  const Bug& bug = GetParam();
  if (bug.plainly.empty()) GTEST_SKIP() << "not asked of this mode";
  std::string all;
  for (const char* order : kOrders) all += run(PLUMB_PLANTED_BUGS, bug.name, order, bug.parameter).text;
  EXPECT_THAT(all, ContainsRegex(bug.plainly));
}

TEST_P(PlantedBug, IsFoundByTheAddressSanitizer) {
  const Bug& bug = GetParam();
  if (bug.address.empty()) GTEST_SKIP() << "not asked of this mode";
  EXPECT_THAT(run(PLUMB_PLANTED_BUGS_ADDRESS, bug.name, "forward", bug.parameter).text,
              ContainsRegex(bug.address));
}

TEST_P(PlantedBug, IsFoundByTheThreadSanitizer) {
  const Bug& bug = GetParam();
  if (bug.thread.empty()) GTEST_SKIP() << "not asked of this mode";
  EXPECT_THAT(run(PLUMB_PLANTED_BUGS_THREAD, bug.name, "forward", bug.parameter).text,
              ContainsRegex(bug.thread));
}

TEST(PlantedBugs, EachIsFoundBySomeMode) {
  for (const Bug& bug : kBugs) EXPECT_FALSE(bug.plainly.empty() && bug.address.empty() && bug.thread.empty());
}

TEST(PlantedBugs, TheThreadSanitizerNamesThePlace) {
  const std::string text = run(PLUMB_PLANTED_BUGS_THREAD, "lock_step_assumed", "forward", "-1").text;
  EXPECT_THAT(text, ContainsRegex("bugs.cu:[0-9]+"));
  EXPECT_THAT(text, ContainsRegex("CUDA thread [0-9]+"));
}

struct CorrectKernel {
  std::string name, parameter = "-1";
};
void PrintTo(const CorrectKernel& kernel, std::ostream* out) { *out << kernel.name; }
class Correct : public testing::TestWithParam<CorrectKernel> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Correct,
                         testing::Values(CorrectKernel{"correct"}, CorrectKernel{"last_block_with_fences"},
                                         CorrectKernel{"busy_blocks"}, CorrectKernel{"late_race"},
                                         CorrectKernel{"distant_blocks_write_one_address"}),
                         name_of_case<CorrectKernel>);

TEST_P(Correct, IsCleanInEveryMode) {
  const auto& [name, parameter] = GetParam();
  for (const char* program : {PLUMB_PLANTED_BUGS, PLUMB_PLANTED_BUGS_ADDRESS, PLUMB_PLANTED_BUGS_THREAD}) {
    for (const char* order : kOrders) {
      const Found result = run(program, name, order, parameter);
      EXPECT_FALSE(result.found) << program << " " << order << "\n" << result.text;
    }
  }
}

}  // namespace
}  // namespace plumb::test

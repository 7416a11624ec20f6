// Failures between ranks, seen from outside: what is printed, what mpirun returns, and that nobody stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "child_runs.h"
#include "launcher_crash.h"

namespace plumb {
namespace {
using test::count;
using test::Outcome;
using test::shell;
using test::this_host;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

std::string mpirun(int ranks, const std::string& scenario, const std::string& options = "") {
  return test::mpirun(ranks, std::string(PLUMB_COMM_SCENARIOS) + " " + scenario, options);
}

TEST(LauncherCrash, OfMpirunAtItsEndLeavesTheStatusOfTheRanks) {
  const std::string aborted = "MPI_ABORT was invoked on rank 1\nwith errorcode 2.\n";
  const std::string crash = "[host:7] [ 1] libpmix.so.2(PMIx_server_finalize+0xb08)[0x7f]\n";
  EXPECT_EQ(test::status_of_ranks(139, aborted + crash), 2);
  EXPECT_EQ(test::status_of_ranks(139, aborted), 139);
  EXPECT_EQ(test::status_of_ranks(139, crash), 139);
  EXPECT_EQ(test::status_of_ranks(1, aborted + crash), 1);
}

TEST(Scenarios, BadInputOnAllRanksGivesOneLineAndStatusTwo) {
  const Outcome outcome = shell(mpirun(4, "bad-input"));
  EXPECT_EQ(outcome.status, 2) << outcome.output;
  EXPECT_EQ(count(outcome.output, "scenario: "), 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("scenario: quickstart.toml:3: no such key: trainning\n"));
}

TEST(Scenarios, BadInputOnOneRankEndsAllWithStatusTwo) {
  const Outcome outcome = shell(mpirun(3, "bad-input-on-rank-1"));
  EXPECT_EQ(outcome.status, 2) << outcome.output;
  EXPECT_EQ(count(outcome.output, "scenario: "), 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("no such key: trainning (rank 1 of 3, host " + this_host() + ")"));
}

/// What may end in more than one way of summing: between all ranks alike, or through the memory of a host.
class SumScenarios : public testing::TestWithParam<std::string> {
 protected:
  static std::string with_path(const std::string& scenario) { return scenario + " " + GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Paths, SumScenarios, testing::Values("", "shared"),
                         [](const auto& info) { return info.param.empty() ? "unchosen" : info.param; });

TEST_P(SumScenarios, AnErrorOnOneRankEndsTheOthers) {
  const Outcome outcome = shell(mpirun(3, with_path("throw")));
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_LT(outcome.seconds, 30);
  EXPECT_THAT(outcome.output, HasSubstr("scenario: rank 1 cannot go on"));
}

TEST_P(SumScenarios, ASkippedCollectiveMeetsItsDeadline) {
  const Outcome outcome = shell(mpirun(3, with_path("skip")));
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_LT(outcome.seconds, 30);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("collective 'gradient bucket 3' (all_reduce"),
                                    HasSubstr("did not finish within 2 s"),
                                    HasSubstr("nothing was heard of rank 1 (host " + this_host() + ")"),
                                    HasSubstr("waits in it too")));
}

TEST(Scenarios, RanksThatLostTheOrderAreToldApart) {
  const Outcome outcome = shell(mpirun(2, "order"));
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_LT(outcome.seconds, 30);
  EXPECT_THAT(outcome.output, ContainsRegex("collective '(loss|save)'"));
  EXPECT_THAT(outcome.output, ContainsRegex("waits in '(loss|save)' instead"));
}

TEST(Scenarios, RanksThatDisagreeOnAShapeAreTold) {
  const Outcome outcome = shell(mpirun(2, "shape"));
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("MPI: collective 'profile': MPI_ERR_TRUNCATE"),
                    HasSubstr("host " + this_host()), HasSubstr("do not agree on a collective")));
}

TEST(Scenarios, RanksThatShareMemoryTellWhatEachBrings) {
  const Outcome outcome = shell(mpirun(2, "shape shared"));
  EXPECT_EQ(outcome.status, 1) << outcome.output;
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("do not agree on a collective"), HasSubstr("'profile'"),
                                    HasSubstr("64 elements of fp32"), HasSubstr("16 elements of fp32"),
                                    HasSubstr("host " + this_host())));
}

TEST_P(SumScenarios, AKilledRankIsNamedAndTheOthersEnd) {
  const Outcome outcome = shell(mpirun(4, with_path("kill")));
  EXPECT_NE(outcome.status, 0);
  EXPECT_LT(outcome.seconds, 30);
  // mpirun's own words, on one line.
  EXPECT_THAT(outcome.output,
              ContainsRegex("process rank 1 with PID [0-9]+ on node " + this_host() + " exited on signal 9"));
}

/// Starts three ranks, sends mpirun a signal when they are ready, and waits for it.
Outcome signal_mpirun(const std::string& signal) {
  // After SIGTERM Open MPI 4.1 waits for this time twice: before it passes the signal on, and before SIGKILL.
  return shell("out=$(mktemp); " + mpirun(3, "signal", "--mca odls_base_sigkill_timeout 3") +
               " >$out 2>&1 & pid=$!; i=0; "
               "while [ $i -lt 100 ] && ! grep -q ready $out; do sleep 0.1; i=$((i+1)); done; "
               "kill -" +
               signal + " $pid; wait $pid; status=$?; cat $out; rm -f $out; exit $status");
}

TEST(Scenarios, SigtermToMpirunReachesEveryRank) {
  const Outcome outcome = signal_mpirun("TERM");
  EXPECT_LT(outcome.seconds, 20);
  EXPECT_EQ(count(outcome.output, "was told to stop"), 3) << outcome.output;
}

TEST(Scenarios, Sigusr1ToMpirunReachesEveryRankAtOnce) {
  const Outcome outcome = signal_mpirun("USR1");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_LT(outcome.seconds, 10);
  EXPECT_EQ(count(outcome.output, "was told to stop"), 3) << outcome.output;
}

TEST_P(SumScenarios, TwoRunsGiveTheSameBits) {
  for (const int ranks : {2, 3, 4}) {
    const Outcome once = shell(mpirun(ranks, with_path("hash"))),
                  again = shell(mpirun(ranks, with_path("hash")));
    EXPECT_EQ(once.status, 0) << once.output;
    const std::size_t at = once.output.find("hash ");
    ASSERT_NE(at, std::string::npos) << once.output;
    EXPECT_THAT(again.output, HasSubstr(once.output.substr(at, 5 + 16)));
  }
}

TEST(Scenarios, JobsOfOneRankAreCaught) {
  const std::string program = PLUMB_COMM_SCENARIOS;
  const Outcome first = shell("OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=0 " + program);
  EXPECT_EQ(first.status, 2) << first.output;
  EXPECT_THAT(first.output, AllOf(HasSubstr("announces 4 ranks (OMPI_COMM_WORLD_SIZE=4)"),
                                  HasSubstr("4 one-rank jobs"), HasSubstr("mpirun"), Not(HasSubstr("\n\n"))));
  const Outcome other = shell("OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=3 " + program);
  EXPECT_EQ(other.status, 2) << other.output;
  EXPECT_THAT(other.output, Not(HasSubstr("scenario: "))) << "only the first of the jobs speaks";
}

TEST(Scenarios, ASingleProcessNeedsNoLauncher) {
  const Outcome outcome = shell("env -u OMPI_COMM_WORLD_SIZE " + std::string(PLUMB_COMM_SCENARIOS) + " hash");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

}  // namespace
}  // namespace plumb

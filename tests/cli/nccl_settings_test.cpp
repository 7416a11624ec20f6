// What the environment of NCCL must be on all ranks, seen from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_run.h"

namespace plumb::test {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;

/// Trains on two ranks that see another value of the variable each: rank0 and rank1.
Outcome train_with(const Folder& folder, const std::string& variable, const std::string& device) {
  std::vector<std::string> line =
      plumb_line(2, {"train", write_tiny_run(folder), "--set", "device=" + device});
  const auto program = line.end() - 5;
  const std::string command = "export " + variable + "=rank$OMPI_COMM_WORLD_RANK; exec \"$@\"";
  line.insert(program, {"sh", "-c", command, "sh"});
  return Running(folder, line).wait();
}

TEST(NcclSettings, ThatDifferEndAllRanksWithOneLine) {
  const Folder folder;
  const Outcome outcome = train_with(folder, "NCCL_ALGO", "cuda-emulated");
  EXPECT_EQ(outcome.status, 2) << outcome.text();
  ASSERT_EQ(outcome.plumb_lines().size(), 1U) << outcome.text();
  EXPECT_THAT(outcome.plumb_lines()[0],
              AllOf(HasSubstr("NCCL_ALGO differs between ranks: 'rank0' on rank 0 (host "),
                    HasSubstr("'rank1' on rank 1 (host ")));
}

TEST(NcclSettings, OfOneHostAloneAreAWarning) {
  const Folder folder;
  const Outcome outcome = train_with(folder, "NCCL_IB_HCA", "cuda-emulated");
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  ASSERT_FALSE(outcome.plumb_lines().empty()) << outcome.text();
  EXPECT_THAT(outcome.plumb_lines()[0], HasSubstr("NCCL_IB_HCA differs between ranks: 'rank0' on rank 0"));
}

TEST(NcclSettings, DoNotMatterWithoutNccl) {
  const Folder folder;
  const Outcome outcome = train_with(folder, "NCCL_ALGO", "cpu");
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_TRUE(outcome.plumb_lines().empty()) << outcome.text();
}

}  // namespace
}  // namespace plumb::test

#include <gmock/gmock.h>

#include <set>

#include "cores.h"
#include "sweep/runner.h"

namespace plumb {
namespace {

TEST(ProcessorShares, OneJobMayRunAnywhere) {
  EXPECT_EQ(processor_shares(1), (std::vector<std::vector<int>>{{}}));
}

TEST(ProcessorShares, EveryJobHasCoresOfItsOwnWhileTheyLast) {
  const std::vector<int> allowed = allowed_processors();
  const std::size_t cores = cores_of(allowed).size();
  for (const int jobs : {2, 3, 64}) {
    std::set<int> used;
    std::size_t total = 0;
    for (const std::vector<int>& share : processor_shares(jobs)) {
      EXPECT_FALSE(share.empty());
      used.insert(share.begin(), share.end());
      total += cores_of(share).size();
    }
    EXPECT_EQ(used, std::set<int>(allowed.begin(), allowed.end())) << "no core is idle";
    EXPECT_EQ(total, std::max(cores, static_cast<std::size_t>(jobs)));
  }
}

}  // namespace
}  // namespace plumb

// A rank of a world that is not there: sizes, placement, and what an observer hears.
#include "comm/planned_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace plumb {
namespace {
using testing::ElementsAre;

TEST(PlannedCommunicator, KnowsItsWorld) {
  EXPECT_THAT(planned_hosts(5, 2), ElementsAre("host-0", "host-0", "host-1", "host-1", "host-2"));
  const PlannedCommunicator communicator(3, planned_hosts(5, 2));
  EXPECT_EQ(communicator.rank(), 3);
  EXPECT_EQ(communicator.world(), 5);
  EXPECT_EQ(communicator.local_rank(), 1);
  EXPECT_EQ(communicator.local_size(), 2);
}

TEST(PlannedCommunicator, OtherRanksHoldWhatThisOneHolds) {
  PlannedCommunicator communicator(1, planned_hosts(2, 2));
  std::vector<float> own = {1, 2}, all(4), row(1);
  communicator.all_gather("rows", Tensor(own.data(), DType::Float32, {2}),
                          Tensor(all.data(), DType::Float32, {2, 2}));
  EXPECT_THAT(all, ElementsAre(1, 2, 1, 2));
  communicator.reduce_scatter("parts", Tensor(own.data(), DType::Float32, {2, 1}),
                              Tensor(row.data(), DType::Float32, {1}));
  EXPECT_THAT(row, ElementsAre(2)) << "its own row, and nothing added";
  communicator.all_reduce("sum", Tensor(own.data(), DType::Float32, {2}), ReduceOp::Sum);
  EXPECT_THAT(own, ElementsAre(1, 2));
}

class Listener final : public CollectiveObserver {
 public:
  void call_began(const char* collective, std::string_view name, std::size_t bytes) override {
    heard.push_back(std::string(collective) + " " + std::string(name) + " " + std::to_string(bytes));
  }
  void call_ended() override {}
  void started(std::uint64_t) override {}
  void finished_before(std::uint64_t) override {}
  void wait_began(std::string_view name) override { heard.push_back("wait " + std::string(name)); }
  void wait_ended() override {}

  std::vector<std::string> heard;
};

TEST(PlannedCommunicator, TellsOfCallsAndWaitsByName) {
  PlannedCommunicator communicator(0, planned_hosts(2, 1));
  Listener listener;
  communicator.observe(&listener);
  std::vector<float> values(4);
  const Tensor tensor(values.data(), DType::Float32, {4});
  Communicator::Request first = communicator.start_all_reduce("bucket 0", tensor),
                        second = communicator.start_reduce_scatter("bucket 1", tensor);
  communicator.progress();
  communicator.wait(second);
  communicator.wait(first);
  communicator.wait(first);
  EXPECT_THAT(listener.heard, ElementsAre("start_all_reduce bucket 0 16", "start_reduce_scatter bucket 1 16",
                                          "wait progress", "wait bucket 1", "wait bucket 0"));
}

}  // namespace
}  // namespace plumb

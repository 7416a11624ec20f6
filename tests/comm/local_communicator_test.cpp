// A world of one: every collective is the identity, and MPI is never started.
#include "comm/local_communicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "core/error.h"

namespace plumb {
namespace {

Tensor view(std::vector<double>& values) {
  return Tensor(values.data(), DType::Float64, {std::ssize(values)});
}

TEST(LocalCommunicator, CollectivesAreTheIdentity) {
  LocalCommunicator comm("here");
  EXPECT_EQ(comm.rank(), 0);
  EXPECT_EQ(comm.world(), 1);
  EXPECT_EQ(comm.local_rank(), 0);
  EXPECT_EQ(comm.local_size(), 1);
  EXPECT_THAT(comm.hosts(), testing::ElementsAre("here"));
  const std::vector<double> original = {1, -2, 3};
  std::vector<double> values = original, received(3);
  comm.all_reduce("sum", view(values), ReduceOp::Sum);
  comm.all_reduce("min", view(values), ReduceOp::Min);
  comm.broadcast("broadcast", view(values), 0);
  auto request = comm.start_all_reduce("later", view(values));
  comm.progress();
  EXPECT_TRUE(comm.poll(request));
  comm.wait(request);
  comm.barrier("barrier");
  EXPECT_EQ(values, original);
  comm.all_gather("gather", view(values), Tensor(received.data(), DType::Float64, {1, 3}));
  EXPECT_EQ(received, original);
  received.assign(3, 0);
  comm.reduce_scatter("scatter", Tensor(values.data(), DType::Float64, {1, 3}), view(received));
  EXPECT_EQ(received, original);
}

TEST(LocalCommunicator, RefusesWhatSeveralRanksWouldRefuse) {
  LocalCommunicator comm("here");
  std::vector<double> values(4);
  EXPECT_THROW(comm.all_reduce("bf16", Tensor(values.data(), DType::BFloat16, {4}), ReduceOp::Sum), Error);
  EXPECT_THROW(comm.broadcast("root", view(values), 1), Error);
  EXPECT_THROW(comm.all_reduce("no memory", Tensor(nullptr, DType::Float32, {4}), ReduceOp::Sum), Error);
  EXPECT_THROW(comm.set_deadline(0), Error);
  EXPECT_THROW(comm.reserve(0), Error);
}

}  // namespace
}  // namespace plumb

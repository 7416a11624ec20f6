// Collectives over the memory of an emulated device, over 1, 2 and 3 ranks and every order of its streams. No
// test waits for the stream between a collective and the use of its result: that is the communicator's
// business.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "core/error.h"
#include "device_bench.h"

namespace plumb::test {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// Small integers, so that sums are exact: different for each rank and element.
template <class T>
std::vector<T> values_of(int rank, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<T>(static_cast<float>((rank + 1) * static_cast<int>(i % 31) + 1));
  }
  return values;
}

template <class T>
std::vector<T> sum_over_ranks(std::int64_t count) {
  std::vector<T> sum(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < sum.size(); ++i) {
    float total = 0;
    for (int rank = 0; rank < ranks().world(); ++rank) {
      total += static_cast<float>((rank + 1) * static_cast<int>(i % 31) + 1);
    }
    sum[i] = static_cast<T>(total);
  }
  return sum;
}

template <class T>
class DeviceCollectives : public DeviceBench {};
using Scalars = testing::Types<float, double, std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(DeviceCollectives, Scalars);

TYPED_TEST(DeviceCollectives, AllReduceSums) {
  const auto communicator = this->make_communicator(*this->stream);
  for (const std::int64_t count : {1, 1000, 70'001}) {
    const DeviceVector<TypeParam> device(*this->backend, {count});
    this->put(values_of<TypeParam>(ranks().rank(), count), device.tensor);
    communicator->all_reduce("sum", device.tensor, ReduceOp::Sum);
    EXPECT_EQ(this->template get<TypeParam>(device.tensor), sum_over_ranks<TypeParam>(count));
  }
}

TYPED_TEST(DeviceCollectives, AllGatherPutsRanksInOrder) {
  const auto communicator = this->make_communicator(*this->stream);
  const DeviceVector<TypeParam> send(*this->backend, {37}), receive(*this->backend, {ranks().world(), 37});
  this->put(values_of<TypeParam>(ranks().rank(), 37), send.tensor);
  communicator->all_gather("gather", send.tensor, receive.tensor);
  std::vector<TypeParam> expected;
  for (int rank = 0; rank < ranks().world(); ++rank) {
    const auto part = values_of<TypeParam>(rank, 37);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  EXPECT_EQ(this->template get<TypeParam>(receive.tensor), expected);
}

TYPED_TEST(DeviceCollectives, ReduceScatterGivesEachRankItsRow) {
  const auto communicator = this->make_communicator(*this->stream);
  const std::int64_t world = ranks().world();
  const DeviceVector<TypeParam> send(*this->backend, {world, 11}), receive(*this->backend, {11});
  this->put(values_of<TypeParam>(ranks().rank(), world * 11), send.tensor);
  communicator->reduce_scatter("scatter", send.tensor, receive.tensor);
  const auto sum = sum_over_ranks<TypeParam>(world * 11);
  const auto first = sum.begin() + ranks().rank() * 11;
  EXPECT_EQ(this->template get<TypeParam>(receive.tensor), std::vector<TypeParam>(first, first + 11));
}

TYPED_TEST(DeviceCollectives, RowsAreReducedAndGatheredInPlace) {
  const auto communicator = this->make_communicator(*this->stream);
  const std::int64_t world = ranks().world(), n = 4001;
  const DeviceVector<TypeParam> rows(*this->backend, {world, n});
  this->put(values_of<TypeParam>(ranks().rank(), world * n), rows.tensor);
  auto request = communicator->start_reduce_scatter("to owners", rows.tensor);
  communicator->wait(request);
  const auto sum = sum_over_ranks<TypeParam>(world * n);
  const auto first = sum.begin() + ranks().rank() * n;
  EXPECT_EQ(this->template get<TypeParam>(rows.tensor.row_range(ranks().rank(), 1)),
            std::vector<TypeParam>(first, first + n));
  request = communicator->start_all_gather("from owners", rows.tensor);
  communicator->wait(request);
  EXPECT_EQ(this->template get<TypeParam>(rows.tensor), sum);
}

TYPED_TEST(DeviceCollectives, BroadcastTakesTheRootsElements) {
  const auto communicator = this->make_communicator(*this->stream);
  for (int root = 0; root < ranks().world(); ++root) {
    const DeviceVector<TypeParam> device(*this->backend, {19});
    this->put(values_of<TypeParam>(ranks().rank(), 19), device.tensor);
    communicator->broadcast("values", device.tensor, root);
    EXPECT_EQ(this->template get<TypeParam>(device.tensor), values_of<TypeParam>(root, 19));
  }
}

class DeviceCommunicator : public DeviceBench {};

TEST_F(DeviceCommunicator, TakesBrainFloats) {
  const auto communicator = make_communicator(*stream);
  const DeviceVector<bfloat16> device(*backend, {31});
  put(values_of<bfloat16>(ranks().rank(), 31), device.tensor);
  communicator->all_reduce("sum", device.tensor, ReduceOp::Sum);
  const auto sums = get<bfloat16>(device.tensor);
  const auto expected = sum_over_ranks<float>(31);
  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_EQ(static_cast<float>(sums[i]), expected[i]) << i;
}

TEST_F(DeviceCommunicator, RefusesWhatItCannotDoRight) {
  const auto communicator = make_communicator(*stream);
  const DeviceVector<float> device(*backend, {4});
  const DeviceVector<float16> half(*backend, {4});
  for (const ReduceOp op : {ReduceOp::Max, ReduceOp::Min}) {
    EXPECT_THAT([&] { communicator->all_reduce("peak", device.tensor, op); },
                ThrowsMessage<Error>(HasSubstr("lose a NaN")));
  }
  EXPECT_THAT([&] { communicator->all_reduce("halves", half.tensor, ReduceOp::Sum); },
              ThrowsMessage<Error>(HasSubstr("fp16 is not reduced")));
  EXPECT_THAT([&] { make_communicator(*stream); },
              ThrowsMessage<Error>(HasSubstr("one communicator at a time")));
  communicator->all_reduce("nothing", Tensor(nullptr, DType::Float32, {0}), ReduceOp::Sum);
}

TEST_F(DeviceCommunicator, IsTheSameWorldAsTheHosts) {
  const auto communicator = make_communicator(*stream);
  EXPECT_EQ(communicator->rank(), ranks().rank());
  EXPECT_EQ(communicator->hosts(), ranks().hosts());
  EXPECT_EQ(communicator->deadline(), ranks().deadline());
  EXPECT_EQ(&communicator->stall_notes(), &ranks().stall_notes());
  communicator->barrier("device barrier");
}

TEST_F(DeviceCommunicator, TakesMoreOperationsThanItHasRoomFor) {
  const auto communicator = make_communicator(*stream);
  communicator->reserve(3);
  const DeviceVector<float> device(*backend, {20, 50});
  put(values_of<float>(ranks().rank(), 1000), device.tensor);
  std::vector<Communicator::Request> requests;
  for (std::int64_t row = 0; row < 20; ++row) {
    requests.push_back(communicator->start_all_reduce("row", device.tensor.row_range(row, 1)));
    communicator->progress();
  }
  for (Communicator::Request& request : requests) communicator->wait(request);
  EXPECT_EQ(get<float>(device.tensor), sum_over_ranks<float>(1000));
}

TEST_F(DeviceCommunicator, PollSeesTheEndWithoutAWait) {
  const auto communicator = make_communicator(*stream);
  const DeviceVector<float> device(*backend, {1000});
  put(values_of<float>(ranks().rank(), 1000), device.tensor);
  Communicator::Request request = communicator->start_all_reduce("sum", device.tensor), never;
  EXPECT_TRUE(communicator->poll(never));
  const auto start = std::chrono::steady_clock::now();
  while (!communicator->poll(request)) {
    ASSERT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  EXPECT_EQ(get<float>(device.tensor), sum_over_ranks<float>(1000));
}

TEST_F(DeviceCommunicator, TheHostDoesNotWait) {
  if (eager_schedule()) GTEST_SKIP() << "there the emulated device makes the host wait for every operation";
  const auto communicator = make_communicator(*stream);
  const DeviceVector<float> device(*backend, {1000});
  put(values_of<float>(ranks().rank(), 1000), device.tensor);
  // The others issue theirs only when rank 0 is through with its own.
  if (ranks().rank() > 0) ranks().barrier("after rank 0");
  communicator->all_reduce("sum", device.tensor, ReduceOp::Sum);
  if (ranks().rank() == 0) ranks().barrier("after rank 0");
  EXPECT_EQ(get<float>(device.tensor), sum_over_ranks<float>(1000));
}

TEST_F(DeviceCommunicator, TellsHowLongTheStreamWaited) {
  const auto communicator = make_communicator(*stream);
  EXPECT_EQ(communicator->take_waited_seconds(), 0) << "there was no span";
  const DeviceVector<float> device(*backend, {1000});
  for (int span = 0; span < 2; ++span) {
    Communicator::Request request = communicator->start_all_reduce("sum", device.tensor);
    communicator->begin_wait_clock();
    communicator->wait(request);
    communicator->end_wait_clock();
  }
  for (int span = 0; span < 2; ++span) {
    const double seconds = communicator->take_waited_seconds();
    EXPECT_GE(seconds, 0);
    EXPECT_LT(seconds, 60);
  }
  EXPECT_EQ(communicator->take_waited_seconds(), 0) << "both were asked for";
}

TEST_F(DeviceCommunicator, CanBeRecordedAndReplayed) {
  const auto communicator = make_communicator(*stream);
  const DeviceVector<float> first(*backend, {1000}), second(*backend, {300});
  const auto body = [&] {
    Communicator::Request one = communicator->start_all_reduce("one", first.tensor),
                          other = communicator->start_all_reduce("other", second.tensor);
    communicator->progress();
    communicator->begin_wait_clock();
    communicator->wait(one);
    communicator->wait(other);
    communicator->end_wait_clock();
  };
  body();
  const auto recording = backend->record(*stream, body);
  for (int replay = 0; replay < 3; ++replay) {
    put(values_of<float>(ranks().rank(), 1000), first.tensor);
    put(values_of<float>(ranks().rank(), 300), second.tensor);
    recording->replay(*stream);
    EXPECT_EQ(get<float>(first.tensor), sum_over_ranks<float>(1000));
    EXPECT_EQ(get<float>(second.tensor), sum_over_ranks<float>(300));
    // Some that are not recorded, in between.
    communicator->all_reduce("live", second.tensor, ReduceOp::Sum);
  }
  EXPECT_GE(communicator->take_waited_seconds(), 0);
  EXPECT_EQ(communicator->take_waited_seconds(), 0) << "replays are not timed";
}

TEST_F(DeviceCommunicator, ReducesRegisteredMemory) {
  const Buffer first = backend->allocate_for_communication(4000),
               empty = backend->allocate_for_communication(0);
  const Tensor tensor(first.data(), DType::Float32, {1000});
  EXPECT_EQ(get<float>(tensor), std::vector<float>(1000)) << "zero-filled";
  const auto communicator = make_communicator(*stream);
  put(values_of<float>(ranks().rank(), 1000), tensor);
  communicator->all_reduce("sum", tensor, ReduceOp::Sum);
  EXPECT_EQ(get<float>(tensor), sum_over_ranks<float>(1000));
}

TEST_F(DeviceCommunicator, OneComesAfterTheOther) {
  for (int i = 0; i < 3; ++i) {
    const auto communicator = make_communicator(*stream);
    const DeviceVector<float> device(*backend, {10});
    put(values_of<float>(ranks().rank(), 10), device.tensor);
    // Its end waits for the collective that nobody has waited for.
    static_cast<void>(communicator->start_all_reduce("sum", device.tensor));
  }
}

}  // namespace
}  // namespace plumb::test

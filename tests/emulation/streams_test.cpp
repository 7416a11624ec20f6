// Streams, events, and the three schedules.
#include <set>

#include "host_fixture.h"

namespace plumb::emulation {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class Streams : public EmulatedHost {
 protected:
  /// A kernel that notes that it ran.
  void note(cudaStream_t stream, int number) {
    ASSERT_EQ(launch(stream, "note", [this, number] { order_.push_back(number); }), cudaSuccess);
  }
  std::vector<int> order_;
  StreamHandle first_, second_;
};

TEST_F(Streams, LazyRunsOnlyWhatTheHostWaitsFor) {
  note(first_, 1);
  note(second_, 2);
  EXPECT_THAT(order_, ElementsAre());
  ASSERT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_THAT(order_, ElementsAre(2));
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_THAT(order_, ElementsAre(2, 1));
}

TEST_F(Streams, EagerRunsAtOnce) {
  set_schedule("eager");
  note(first_, 1);
  EXPECT_THAT(order_, ElementsAre(1));
}

TEST_F(Streams, RandomKeepsTheOrderWithinAStreamAndMixesStreams) {
  std::set<std::vector<int>> orders;
  for (const char* schedule : {"random:1", "random:2", "random:3", "random:4", "random:5", "random:1"}) {
    set_schedule(schedule);
    order_.clear();
    for (int i = 0; i < 10; ++i) {
      note(first_, i);
      note(second_, 100 + i);
    }
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    ASSERT_EQ(order_.size(), 20U);
    std::vector<int> sorted = order_;
    std::stable_partition(sorted.begin(), sorted.end(), [](int i) { return i < 100; });
    EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end()));
    orders.insert(order_);
  }
  EXPECT_EQ(orders.size(), 5U) << "five seeds, five orders; the same seed, the same order";
}

TEST_F(Streams, AnUnknownScheduleIsRefused) {
  for (const char* schedule : {"", "lazi", "random", "random:", "random:x"})
    EXPECT_ANY_THROW(set_schedule(schedule));
}

TEST_F(Streams, AnEventOrdersTwoStreams) {
  const EventHandle event;
  note(first_, 1);
  ASSERT_EQ(cudaEventRecord(event, first_), cudaSuccess);
  note(first_, 3);
  ASSERT_EQ(cudaStreamWaitEvent(second_, event, 0), cudaSuccess);
  note(second_, 2);
  ASSERT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_THAT(order_, ElementsAre(1, 2)) << "3 is not needed for 2";
}

TEST_F(Streams, AWaitIsForTheRecordMadeBeforeIt) {
  const EventHandle event;
  note(first_, 1);
  ASSERT_EQ(cudaEventRecord(event, first_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(second_, event, 0), cudaSuccess);
  note(first_, 2);
  ASSERT_EQ(cudaEventRecord(event, first_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_THAT(order_, ElementsAre(1));
  ASSERT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_THAT(order_, ElementsAre(1, 2));
}

TEST_F(Streams, AnEventNeverRecordedIsPassed) {
  const EventHandle event;
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(first_, event, 0), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(first_), cudaSuccess);
}

TEST_F(Streams, AnEventOutlivesItsHandleAsLongAsSomethingWaits) {
  {
    const EventHandle event;
    note(first_, 1);
    ASSERT_EQ(cudaEventRecord(event, first_), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(second_, event, 0), cudaSuccess);
  }
  note(second_, 2);
  ASSERT_EQ(cudaStreamSynchronize(second_), cudaSuccess);
  EXPECT_THAT(order_, ElementsAre(1, 2));
}

TEST_F(Streams, WorkOfADestroyedStreamStillRuns) {
  {
    const StreamHandle brief;
    note(brief, 1);
  }
  EXPECT_THAT(order_, ElementsAre());
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_THAT(order_, ElementsAre(1));
}

TEST_F(Streams, HandlesThatAreNoMoreAreRefused) {
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  ASSERT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, first_), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(launch(stream, "kernel", [] {}), cudaErrorInvalidResourceHandle);
}

TEST_F(Streams, QueriesMakeProgressAndSayNotReady) {
  int polls_left = 3;
  ASSERT_EQ(enqueue(first_, "slow", [&] { return --polls_left < 0 ? Step::Done : Step::Pending; }),
            cudaSuccess);
  const EventHandle event;
  ASSERT_EQ(cudaEventRecord(event, first_), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(first_), cudaErrorNotReady);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  int queries = 0;
  while (cudaEventQuery(event) != cudaSuccess) ASSERT_LT(++queries, 10);
  EXPECT_EQ(cudaStreamQuery(first_), cudaSuccess);
}

TEST_F(Streams, ElapsedTimeNeedsTimingAndBothRecords) {
  const EventHandle begin(cudaEventDefault), end(cudaEventDefault), untimed;
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaErrorInvalidResourceHandle);
  for (cudaEvent_t event :
       {static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(untimed), static_cast<cudaEvent_t>(end)})
    ASSERT_EQ(cudaEventRecord(event, first_), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaErrorNotReady);
  ASSERT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, begin, untimed), cudaErrorInvalidResourceHandle);
  ASSERT_EQ(cudaEventElapsedTime(&milliseconds, begin, end), cudaSuccess);
  EXPECT_GE(milliseconds, 0);
}

TEST_F(Streams, OnlyStreamsThatDoNotWaitForTheDefaultStreamAreModelled) {
  cudaStream_t stream = nullptr;
  EXPECT_ANY_THROW(cudaStreamCreateWithFlags(&stream, cudaStreamDefault));
}

TEST_F(Streams, AStreamOfAnotherDeviceIsRefused) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(launch(first_, "kernel", [] {}), cudaErrorInvalidResourceHandle);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
}

TEST_F(Streams, WhatNeverFinishesIsReportedWithWhatWaitsForIt) {
  set_stall_limit(0.2);
  const EventHandle event;
  ASSERT_EQ(enqueue(first_, "stuck_kernel", [] { return Step::Pending; }), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, first_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(second_, event, 0), cudaSuccess);
  note(second_, 1);
  EXPECT_EQ(cudaStreamSynchronize(second_), cudaErrorLaunchTimeout);
  set_stall_limit(10);
  EXPECT_THAT(cudaGetErrorString(cudaErrorLaunchTimeout),
              AllOf(HasSubstr("'stuck_kernel'"), HasSubstr("'event wait' waits for event"),
                    HasSubstr("recorded on stream")));
  EXPECT_THAT(order_, ElementsAre());
}

}  // namespace
}  // namespace plumb::emulation

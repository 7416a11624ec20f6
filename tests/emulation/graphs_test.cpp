// Capture of streams into graphs, and their replay.
#include "host_fixture.h"

namespace plumb::emulation {
namespace {

using testing::Each;

class Graphs : public EmulatedHost {
 protected:
  void begin() { ASSERT_EQ(cudaStreamBeginCapture(origin_, cudaStreamCaptureModeThreadLocal), cudaSuccess); }
  cudaGraphExec_t end() {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(origin_, &graph), cudaSuccess);
    cudaGraphExec_t executable = nullptr;
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return executable;
  }
  cudaError_t end_code() {
    cudaGraph_t graph = nullptr;
    const cudaError_t code = cudaStreamEndCapture(origin_, &graph);
    EXPECT_EQ(code == cudaSuccess, graph != nullptr);
    if (graph != nullptr) cudaGraphDestroy(graph);
    return code;
  }
  /// other_ joins the capture, behind what origin_ holds so far.
  void fork(cudaEvent_t event) {
    ASSERT_EQ(cudaEventRecord(event, origin_), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(other_, event, 0), cudaSuccess);
  }
  void join(cudaEvent_t event) {
    ASSERT_EQ(cudaEventRecord(event, other_), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(origin_, event, 0), cudaSuccess);
  }
  cudaStreamCaptureStatus status(cudaStream_t stream) {
    cudaStreamCaptureStatus result = cudaStreamCaptureStatusNone;
    EXPECT_EQ(cudaStreamIsCapturing(stream, &result), cudaSuccess);
    return result;
  }

  StreamHandle origin_, other_;
};

TEST_F(Graphs, NothingRunsDuringCaptureAndEveryReplayRunsAll) {
  const DeviceArray<int> counter(std::vector<int>{0});
  int* value = counter.data();
  begin();
  EXPECT_EQ(status(origin_), cudaStreamCaptureStatusActive);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(launch(origin_, "add", [value] { ++*value; }), cudaSuccess);
  cudaGraphExec_t graph = end();
  EXPECT_EQ(status(origin_), cudaStreamCaptureStatusNone);
  EXPECT_EQ(counter.read()[0], 0);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(cudaGraphLaunch(graph, origin_), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(graph), cudaSuccess) << "launches that are queued still run";
  ASSERT_EQ(cudaStreamSynchronize(origin_), cudaSuccess);
  EXPECT_EQ(counter.read()[0], 12);
}

TEST_F(Graphs, EveryReplayStartsFromAFreshCopyOfAnOperation) {
  int runs = 0;
  begin();
  ASSERT_EQ(enqueue(origin_, "three steps",
                    [&runs, left = 3]() mutable {
                      if (left-- > 0) return Step::Pending;
                      ++runs;
                      return Step::Done;
                    }),
            cudaSuccess);
  cudaGraphExec_t graph = end();
  for (int i = 0; i < 2; ++i) ASSERT_EQ(cudaGraphLaunch(graph, origin_), cudaSuccess);
  int queries = 0;
  while (cudaStreamQuery(origin_) != cudaSuccess) ++queries;
  EXPECT_EQ(runs, 2);
  EXPECT_GE(queries, 6);
}

TEST_F(Graphs, ForkAndJoinKeepTheirDependencies) {
  for (const char* schedule : {"eager", "lazy", "random:1", "random:2", "random:3"}) {
    set_schedule(schedule);
    const EventHandle forked, joined;
    std::vector<int> order;
    const auto note = [&](cudaStream_t stream, int number) {
      ASSERT_EQ(launch(stream, "note", [&order, number] { order.push_back(number); }), cudaSuccess);
    };
    begin();
    note(origin_, 0);
    fork(forked);
    EXPECT_EQ(status(other_), cudaStreamCaptureStatusActive);
    note(other_, 1);
    note(origin_, 2);
    join(joined);
    note(origin_, 3);
    cudaGraphExec_t graph = end();
    EXPECT_EQ(status(other_), cudaStreamCaptureStatusNone);
    ASSERT_EQ(cudaGraphLaunch(graph, other_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
    ASSERT_EQ(order.size(), 4U);
    EXPECT_EQ(order.front(), 0);
    EXPECT_EQ(order.back(), 3);
    EXPECT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
  }
}

/// A reader on one branch and a writer on the other: the missing dependency shows under some schedule.
TEST_F(Graphs, AMissingDependencyIsFoundBySomeSchedule) {
  const DeviceArray<float> data(1), copy(1);
  float *written = data.data(), *read = copy.data();
  int wrong = 0;
  for (const char* schedule : {"eager", "lazy", "random:1", "random:2", "random:3"}) {
    set_schedule(schedule);
    const EventHandle forked, joined;
    ASSERT_EQ(cudaMemset(written, 0, 4), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
    begin();
    fork(forked);
    ASSERT_EQ(launch(origin_, "write", [written] { *written = 7; }), cudaSuccess);
    ASSERT_EQ(launch(other_, "read", [=] { *read = *written; }), cudaSuccess);
    join(joined);
    cudaGraphExec_t graph = end();
    ASSERT_EQ(cudaGraphLaunch(graph, origin_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(origin_), cudaSuccess);
    if (copy.read()[0] != 7) ++wrong;
    EXPECT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
  }
  EXPECT_GT(wrong, 0);
}

TEST_F(Graphs, ReplaysReadPinnedMemoryAnew) {
  PinnedArray<float> source(4);
  const DeviceArray<float> device(4);
  begin();
  ASSERT_EQ(cudaMemcpyAsync(device.data(), source.data(), 16, cudaMemcpyHostToDevice, origin_), cudaSuccess);
  cudaGraphExec_t graph = end();
  for (const float value : {1.0F, 2.0F}) {
    source.fill(value);
    ASSERT_EQ(cudaGraphLaunch(graph, origin_), cudaSuccess);
    ASSERT_EQ(cudaStreamSynchronize(origin_), cudaSuccess);
    EXPECT_THAT(device.read(), Each(value));
  }
  EXPECT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
}

TEST_F(Graphs, AReplayAfterItsMemoryWasFreedIsFound) {
  void* data = nullptr;
  ASSERT_EQ(cudaMalloc(&data, 64), cudaSuccess);
  begin();
  ASSERT_EQ(cudaMemsetAsync(data, 0, 64, origin_), cudaSuccess);
  cudaGraphExec_t graph = end();
  ASSERT_EQ(cudaFree(data), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(graph, origin_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(origin_), cudaErrorIllegalAddress);
}

TEST_F(Graphs, LaunchesOfOneGraphDoNotOverlap) {
  set_schedule("random:4");
  std::vector<int> order;
  begin();
  ASSERT_EQ(launch(origin_, "first", [&] { order.push_back(0); }), cudaSuccess);
  ASSERT_EQ(launch(origin_, "second", [&] { order.push_back(1); }), cudaSuccess);
  cudaGraphExec_t graph = end();
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(cudaGraphLaunch(graph, origin_), cudaSuccess);
    ASSERT_EQ(cudaGraphLaunch(graph, other_), cudaSuccess);
  }
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  ASSERT_EQ(order.size(), 20U);
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], static_cast<int>(i % 2));
  EXPECT_EQ(cudaGraphExecDestroy(graph), cudaSuccess);
}

// What is illegal while a graph is captured.

TEST_F(Graphs, AForkThatIsNotJoinedIsAnError) {
  const EventHandle forked;
  begin();
  fork(forked);
  ASSERT_EQ(launch(other_, "kernel", [] {}), cudaSuccess);
  EXPECT_EQ(end_code(), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(status(other_), cudaStreamCaptureStatusNone);
}

TEST_F(Graphs, UnsafeCallsAreRefusedAndInvalidateTheCapture) {
  const PinnedArray<float> pinned(4);
  const DeviceArray<float> device(4);
  std::vector<float> pageable(4);
  const EventHandle event;
  void* data = nullptr;
  const std::pair<const char*, std::function<cudaError_t()>> calls[] = {
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(origin_); }},
      {"cudaStreamSynchronize of another stream", [&] { return cudaStreamSynchronize(other_); }},
      {"cudaStreamQuery", [&] { return cudaStreamQuery(origin_); }},
      {"cudaDeviceSynchronize", [] { return cudaDeviceSynchronize(); }},
      {"cudaEventQuery", [&] { return cudaEventQuery(event); }},
      {"cudaMalloc", [&] { return cudaMalloc(&data, 4); }},
      {"cudaFree", [&] { return cudaFree(device.data()); }},
      {"cudaMallocHost", [&] { return cudaMallocHost(&data, 4); }},
      {"cudaFreeHost", [&] { return cudaFreeHost(pinned.data()); }},
      {"cudaMemcpy", [&] { return cudaMemcpy(device.data(), pinned.data(), 4, cudaMemcpyHostToDevice); }},
      {"pageable copy",
       [&] { return cudaMemcpyAsync(device.data(), pageable.data(), 4, cudaMemcpyHostToDevice, origin_); }}};
  for (const auto& [name, call] : calls) {
    begin();
    ASSERT_EQ(launch(origin_, "kernel", [] {}), cudaSuccess);
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported) << name;
    EXPECT_EQ(status(origin_), cudaStreamCaptureStatusInvalidated) << name;
    EXPECT_EQ(launch(origin_, "kernel", [] {}), cudaErrorStreamCaptureInvalidated) << name;
    EXPECT_EQ(end_code(), cudaErrorStreamCaptureInvalidated) << name;
  }
  EXPECT_EQ(cudaStreamSynchronize(origin_), cudaSuccess);
}

TEST_F(Graphs, RelaxedCapturesAllowUnsafeCalls) {
  ASSERT_EQ(cudaStreamBeginCapture(origin_, cudaStreamCaptureModeRelaxed), cudaSuccess);
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(end_code(), cudaSuccess);
}

TEST_F(Graphs, EventsDoNotCrossTheBorderOfACapture) {
  const EventHandle outside, inside;
  ASSERT_EQ(cudaEventRecord(outside, other_), cudaSuccess);
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(origin_, outside, 0), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(end_code(), cudaErrorStreamCaptureInvalidated);

  begin();
  ASSERT_EQ(cudaEventRecord(inside, origin_), cudaSuccess);
  EXPECT_EQ(end_code(), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(inside), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaStreamWaitEvent(other_, inside, 0), cudaErrorCapturedEvent);
}

TEST_F(Graphs, TwoCapturesCannotMerge) {
  const EventHandle event;
  begin();
  ASSERT_EQ(cudaStreamBeginCapture(other_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, other_), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(origin_, event, 0), cudaErrorStreamCaptureMerge);
  EXPECT_EQ(end_code(), cudaErrorStreamCaptureInvalidated);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(other_, &graph), cudaErrorStreamCaptureInvalidated);
}

TEST_F(Graphs, ACaptureEndsWhereItBegan) {
  const EventHandle forked;
  begin();
  fork(forked);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(other_, &graph), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(end_code(), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaStreamEndCapture(origin_, &graph), cudaErrorInvalidValue);
}

TEST_F(Graphs, TheDefaultStreamCannotBeUsedMeanwhile) {
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal),
            cudaErrorStreamCaptureUnsupported);
  begin();
  EXPECT_EQ(launch(nullptr, "kernel", [] {}), cudaErrorStreamCaptureImplicit);
  EXPECT_EQ(end_code(), cudaSuccess);
}

TEST_F(Graphs, HandlesThatAreNoMoreAreRefused) {
  begin();
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(origin_, &graph), cudaSuccess);
  std::size_t nodes = 99;
  EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &nodes), cudaSuccess);
  EXPECT_EQ(nodes, 0U);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGraphLaunch(executable, origin_), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace plumb::emulation

// Kernel launches: failures, shared memory, host functions, and the faults that are asked for.
#include "host_fixture.h"

namespace plumb::emulation {
namespace {

using testing::HasSubstr;

class Launches : public EmulatedHost {
 protected:
  StreamHandle stream_;
};

void some_kernel() {}
const void* const kKernel = reinterpret_cast<const void*>(&some_kernel);

TEST_F(Launches, AKernelsOwnReportIsShownByEveryLaterCall) {
  ASSERT_EQ(launch(stream_, "bad", [] { kernel_failed("bad: divergent barrier at line 12"); }), cudaSuccess);
  bool later = false;
  ASSERT_EQ(launch(stream_, "later", [&] { later = true; }), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  EXPECT_THAT(cudaGetErrorString(cudaErrorLaunchFailure), HasSubstr("bad: divergent barrier at line 12"));
  EXPECT_FALSE(later);
  void* data = nullptr;
  EXPECT_EQ(cudaMalloc(&data, 4), cudaErrorLaunchFailure);
  EXPECT_EQ(launch(stream_, "more", [] {}), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaGetLastError(), cudaErrorLaunchFailure) << "a lost device stays lost";
}

TEST_F(Launches, LargeSharedMemoryNeedsTheAttribute) {
  EXPECT_EQ(check_shared_memory(kKernel, "some_kernel", 48 * 1024), cudaSuccess);
  EXPECT_EQ(check_shared_memory(kKernel, "some_kernel", 48 * 1024 + 1), cudaErrorInvalidValue);
  ASSERT_EQ(cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 * 1024),
            cudaSuccess);
  EXPECT_EQ(check_shared_memory(kKernel, "some_kernel", 100 * 1024), cudaSuccess);
  EXPECT_EQ(check_shared_memory(kKernel, "some_kernel", 100 * 1024 + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 * 1024),
            cudaErrorInvalidValue);
}

TEST_F(Launches, StreamOperationsCannotCallCuda) {
  cudaError_t inside = cudaSuccess;
  ASSERT_EQ(launch(stream_, "caller", [&] { inside = cudaDeviceSynchronize(); }), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(inside, cudaErrorNotPermitted);
}

TEST_F(Launches, AHostFunctionRunsInTheOrderOfItsStream) {
  std::vector<int> order;
  ASSERT_EQ(launch(stream_, "kernel", [&] { order.push_back(1); }), cudaSuccess);
  ASSERT_EQ(cudaLaunchHostFunc(
                stream_, [](void* data) { static_cast<std::vector<int>*>(data)->push_back(2); }, &order),
            cudaSuccess);
  ASSERT_EQ(launch(stream_, "kernel", [&] { order.push_back(3); }), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(order, testing::ElementsAre(1, 2, 3));
}

TEST_F(Launches, FaultOfALaunchComesWhenItRuns) {
  set_faults("launch@2");
  int ran = 0;
  for (int i = 0; i < 3; ++i) ASSERT_EQ(launch(stream_, "counted", [&] { ++ran; }), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  EXPECT_EQ(ran, 1);
  EXPECT_THAT(cudaGetErrorString(cudaErrorLaunchFailure), HasSubstr("counted: injected"));
}

TEST_F(Launches, FaultOfAnAllocationStrikesOnce) {
  set_faults("rank=7:malloc@1,rank=0:malloc@2");
  void *first = nullptr, *second = nullptr, *third = nullptr;
  EXPECT_EQ(cudaMalloc(&first, 4), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&second, 4), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&third, 4), cudaSuccess);
  EXPECT_EQ(cudaFree(first), cudaSuccess);
  EXPECT_EQ(cudaFree(third), cudaSuccess);
}

TEST_F(Launches, MalformedFaultsAreRefused) {
  for (const char* text :
       {"malloc", "malloc@", "malloc@0", "malloc@x", "rank=1malloc@1", "rank=:malloc@1", "disk@1"})
    EXPECT_ANY_THROW(set_faults(text)) << text;
}

}  // namespace
}  // namespace plumb::emulation

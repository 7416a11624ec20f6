// Device and pinned memory.
#include <cmath>
#include <cstring>

#include "host/device_memory.h"
#include "host/statistics.h"
#include "host_fixture.h"

namespace plumb::emulation {
namespace {

using testing::HasSubstr;

#ifdef __SANITIZE_ADDRESS__
constexpr const char* kStaleAccess = "use-after-poison|stale_kernel";
#else
constexpr const char* kStaleAccess = "stream operation 'stale_kernel' touched";
#endif

class Memory : public EmulatedHost {};
using MemoryDeathTest = Memory;

TEST_F(Memory, NewMemoryIsNaN) {
  const DeviceArray<float> array(1000);
  for (const float value : array.read()) ASSERT_TRUE(std::isnan(value));
}

TEST_F(Memory, AddressesAreNeverUsedAgain) {
  std::vector<void*> seen;
  for (const std::size_t bytes : {4U, 4U, 1000U, 200'000U, 200'000U, 4U}) {
    void* data = nullptr;
    ASSERT_EQ(cudaMalloc(&data, bytes), cudaSuccess);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 256, 0U);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), data), 0);
    seen.push_back(data);
    ASSERT_EQ(cudaFree(data), cudaSuccess);
  }
}

TEST_F(Memory, TheStatisticsCountAllocationsAndBytes) {
  const Statistics before = statistics();
  {
    const DeviceArray<char> small(100), large(1'000'000);
    EXPECT_EQ(statistics().allocations, before.allocations + 2);
    EXPECT_EQ(statistics().current_bytes, before.current_bytes + 1'000'100);
  }
  EXPECT_EQ(statistics().current_bytes, before.current_bytes);
  EXPECT_GE(statistics().peak_bytes, before.current_bytes + 1'000'100);
  std::uint64_t allocations = 0, current = 0, peak = 0;
  plumb_emulation_memory(&allocations, &current, &peak);
  EXPECT_EQ(allocations, before.allocations + 2);
  EXPECT_EQ(current, before.current_bytes);
}

TEST_F(Memory, WhatIsLeftShrinksAndGrows) {
  std::size_t before = 0, during = 0, after = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&before, &total), cudaSuccess);
  {
    const DeviceArray<char> array(12345);
    ASSERT_EQ(cudaMemGetInfo(&during, &total), cudaSuccess);
  }
  ASSERT_EQ(cudaMemGetInfo(&after, &total), cudaSuccess);
  EXPECT_EQ(before - during, 12345U);
  EXPECT_EQ(before, after);
}

TEST_F(Memory, MoreThanTheDeviceHasIsRefused) {
  void* data = &data;
  EXPECT_EQ(cudaMalloc(&data, std::size_t{17} << 30), cudaErrorMemoryAllocation);
  EXPECT_EQ(data, nullptr);
  EXPECT_THAT(cudaGetErrorString(cudaErrorMemoryAllocation), HasSubstr("18253611008 bytes"));
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess) << "running out of memory must not be sticky";
}

TEST_F(Memory, OnlyTheStartOfALiveAllocationCanBeFreed) {
  void* data = nullptr;
  ASSERT_EQ(cudaMalloc(&data, 64), cudaSuccess);
  EXPECT_EQ(cudaFree(static_cast<char*>(data) + 16), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(cudaFree(data), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
}

TEST_F(MemoryDeathTest, HostCodeCannotTouchDeviceMemory) {
  const DeviceArray<float> array(16);
  volatile float* data = array.data();
  EXPECT_DEATH(data[3] = 1, "host code touched device memory: the 1 bytes at \\+12 of allocation");
  EXPECT_DEATH(static_cast<void>(static_cast<float>(data[0])), "host code touched device memory");
}

TEST_F(MemoryDeathTest, AKernelCannotTouchWhatWasFreed) {
  float* stale = nullptr;
  {
    const DeviceArray<float> array(100'000);
    stale = array.data();
  }
  EXPECT_DEATH(
      {
        launch(nullptr, "stale_kernel", [stale] { *const_cast<volatile float*>(stale) = 1; });
        cudaDeviceSynchronize();
      },
      kStaleAccess);
}

#ifndef __SANITIZE_ADDRESS__
TEST_F(Memory, WritingBehindAnAllocationIsFoundWhenItIsFreed) {
  void* data = nullptr;
  ASSERT_EQ(cudaMalloc(&data, 40), cudaSuccess);
  auto* values = static_cast<float*>(data);
  ASSERT_EQ(launch(nullptr, "overrun", [values] { values[10] = 0; }), cudaSuccess);
  EXPECT_EQ(cudaFree(data), cudaErrorIllegalAddress);
  EXPECT_THAT(cudaGetErrorString(cudaErrorIllegalAddress), HasSubstr("something wrote behind allocation"));
}

TEST_F(Memory, CopyingOneRedZoneToAnotherIsFound) {
  const DeviceArray<float> source(10);
  void* data = nullptr;
  ASSERT_EQ(cudaMalloc(&data, 40), cudaSuccess);
  auto* target = static_cast<float*>(data);
  const float* values = source.data();
  ASSERT_EQ(launch(nullptr, "overrun", [=] { std::memcpy(target, values, 64); }), cudaSuccess);
  EXPECT_EQ(cudaFree(data), cudaErrorIllegalAddress);
  forget_errors();
}

TEST_F(Memory, WritingBehindAnAllocationIsFoundByDeviceSynchronize) {
  const DeviceArray<float> array(10);
  float* values = array.data();
  ASSERT_EQ(launch(nullptr, "overrun", [values] { values[10] = 0; }), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
  forget_errors();
}
#endif

TEST_F(Memory, PinnedMemoryIsNaNAndBelongsToTheHost) {
  PinnedArray<float> array(10);
  EXPECT_TRUE(std::isnan(array[9]));
  array[9] = 1;
  EXPECT_EQ(cudaFreeHost(array.data() + 1), cudaErrorInvalidValue);
}

TEST_F(Memory, HostMemoryIsRegisteredOnce) {
  std::vector<float> values(100);
  ASSERT_EQ(cudaHostRegister(values.data(), 400, cudaHostRegisterDefault), cudaSuccess);
  EXPECT_EQ(cudaHostRegister(values.data() + 50, 400, cudaHostRegisterDefault),
            cudaErrorHostMemoryAlreadyRegistered);
  EXPECT_EQ(cudaHostUnregister(values.data() + 1), cudaErrorHostMemoryNotRegistered);
  EXPECT_EQ(cudaHostUnregister(values.data()), cudaSuccess);
  EXPECT_EQ(cudaHostUnregister(values.data()), cudaErrorHostMemoryNotRegistered);
}

}  // namespace
}  // namespace plumb::emulation

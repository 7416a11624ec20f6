// Devices, versions, error texts.
#include <cstdlib>

#include "host_fixture.h"

namespace plumb::emulation {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Devices : public EmulatedHost {
 protected:
  // The number of devices is read once: a child process reads it anew.
  Devices() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

/// For a child process: exits with the number of devices.
[[noreturn]] void exit_with_device_count(const char* present, const char* visible) {
  setenv("PLUMB_EMULATION_DEVICES", present, 1);
  if (visible != nullptr) setenv("CUDA_VISIBLE_DEVICES", visible, 1);
  int count = -1;
  const cudaError_t code = cudaGetDeviceCount(&count);
  _exit(code == cudaSuccess || (code == cudaErrorNoDevice && count == 0) ? count : 100);
}

TEST_F(Devices, ThereAreEight) {
  int count = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 8);
}

TEST_F(Devices, TheEnvironmentCanSayHowMany) {
  EXPECT_EXIT(exit_with_device_count("2", nullptr), testing::ExitedWithCode(2), "");
  EXPECT_EXIT(exit_with_device_count("0", nullptr), testing::ExitedWithCode(0), "");
}

TEST_F(Devices, VisibleDevicesEndAtTheFirstThatIsNotThere) {
  EXPECT_EXIT(exit_with_device_count("4", "3,1"), testing::ExitedWithCode(2), "");
  EXPECT_EXIT(exit_with_device_count("4", "0,4,1"), testing::ExitedWithCode(1), "");
  EXPECT_EXIT(exit_with_device_count("4", ""), testing::ExitedWithCode(0), "");
}

TEST_F(Devices, VisibleDevicesKeepTheirBusIds) {
  EXPECT_EXIT(
      {
        setenv("CUDA_VISIBLE_DEVICES", "3,1", 1);
        char id[16] = {};
        cudaDeviceGetPCIBusId(id, sizeof id, 0);
        _exit(std::string(id) == "0000:04:00.0" ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(Devices, BusIdsAreDistinct) {
  std::vector<std::string> ids;
  for (int device = 0; device < 8; ++device) {
    char id[16] = {};
    ASSERT_EQ(cudaDeviceGetPCIBusId(id, sizeof id, device), cudaSuccess);
    ids.emplace_back(id);
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
  char small[12];
  EXPECT_EQ(cudaDeviceGetPCIBusId(small, sizeof small, 0), cudaErrorInvalidValue);
}

TEST_F(Devices, ADeviceOutOfRangeIsRefused) {
  EXPECT_EQ(cudaSetDevice(8), cudaErrorInvalidDevice);
  EXPECT_THAT(cudaGetErrorString(cudaErrorInvalidDevice), HasSubstr("device 8 of 8"));
  EXPECT_EQ(cudaSetDevice(-1), cudaErrorInvalidDevice);
  cudaDeviceProp properties{};
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 8), cudaErrorInvalidDevice);
}

TEST_F(Devices, PropertiesAndAttributesAgree) {
  cudaDeviceProp properties{};
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "emulated GPU");
  EXPECT_EQ(properties.major, 9);
  const std::pair<cudaDeviceAttr, int> expected[] = {
      {cudaDevAttrMultiProcessorCount, properties.multiProcessorCount},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, static_cast<int>(properties.sharedMemPerBlockOptin)},
      {cudaDevAttrComputeCapabilityMajor, properties.major}};
  for (const auto& [attribute, value] : expected) {
    int found = -1;
    ASSERT_EQ(cudaDeviceGetAttribute(&found, attribute, 0), cudaSuccess);
    EXPECT_EQ(found, value);
  }
  int found = 0;
  EXPECT_ANY_THROW(cudaDeviceGetAttribute(&found, cudaDevAttrMaxTexture1DWidth, 0));
}

TEST_F(Devices, TheLastErrorIsKeptUntilItIsRead) {
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(99), cudaErrorInvalidDevice);
  int device = 0;
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(Devices, ErrorTextsStartAsTheRuntimesDo) {
  EXPECT_STREQ(cudaGetErrorString(cudaSuccess), "no error");
  EXPECT_THAT(cudaGetErrorString(cudaErrorMemoryAllocation), StartsWith("out of memory"));
  EXPECT_STREQ(cudaGetErrorName(cudaErrorNotReady), "cudaErrorNotReady");
}

}  // namespace
}  // namespace plumb::emulation

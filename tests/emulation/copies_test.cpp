// Copies: when host memory is read and written, and what is refused.
#include "host_fixture.h"

namespace plumb::emulation {
namespace {

using testing::Each;
using testing::HasSubstr;

class Copies : public EmulatedHost {
 protected:
  StreamHandle stream_;
};

TEST_F(Copies, APageableSourceIsReadAtTheCall) {
  std::vector<float> source(8, 1.0F);
  const DeviceArray<float> device(8);
  ASSERT_EQ(cudaMemcpyAsync(device.data(), source.data(), 32, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  source.assign(8, 2.0F);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(device.read(), Each(1.0F));
}

TEST_F(Copies, APinnedSourceIsReadWhenTheStreamRuns) {
  PinnedArray<float> source(8);
  source.fill(1);
  const DeviceArray<float> device(8);
  ASSERT_EQ(cudaMemcpyAsync(device.data(), source.data(), 32, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  source.fill(2);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(device.read(), Each(2.0F));
}

TEST_F(Copies, APageableTargetIsWrittenWhenTheCallReturns) {
  const DeviceArray<float> device(std::vector<float>(8, 3.0F));
  std::vector<float> target(8);
  ASSERT_EQ(cudaMemcpyAsync(target.data(), device.data(), 32, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_THAT(target, Each(3.0F));
}

TEST_F(Copies, APinnedTargetIsWrittenWhenTheStreamRuns) {
  const DeviceArray<float> device(std::vector<float>(8, 3.0F));
  PinnedArray<float> target(8);
  target.fill(0);
  ASSERT_EQ(cudaMemcpyAsync(target.data(), device.data(), 32, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(target[0], 0.0F);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(target[0], 3.0F);
}

TEST_F(Copies, RegisteredMemoryIsPinned) {
  std::vector<float> source(8, 1.0F);
  ASSERT_EQ(cudaHostRegister(source.data(), 32, cudaHostRegisterDefault), cudaSuccess);
  const DeviceArray<float> device(8);
  ASSERT_EQ(cudaMemcpyAsync(device.data(), source.data(), 32, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  source.assign(8, 2.0F);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(device.read(), Each(2.0F));
  EXPECT_EQ(cudaHostUnregister(source.data()), cudaSuccess);
}

TEST_F(Copies, TheDirectionMustBeThatOfThePointers) {
  const DeviceArray<float> a(8), b(8);
  std::vector<float> host(8);
  EXPECT_EQ(cudaMemcpyAsync(a.data(), host.data(), 32, cudaMemcpyDeviceToHost, stream_),
            cudaErrorInvalidValue);
  EXPECT_THAT(cudaGetErrorString(cudaErrorInvalidValue), HasSubstr("copy host to device"));
  EXPECT_EQ(cudaMemcpyAsync(a.data(), b.data(), 32, cudaMemcpyHostToDevice, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(a.data(), host.data(), 32, static_cast<cudaMemcpyKind>(7), stream_),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemcpyAsync(a.data(), host.data(), 32, cudaMemcpyDefault, stream_), cudaSuccess);
}

TEST_F(Copies, TheWholeRangeMustBeInOneAllocation) {
  const DeviceArray<float> a(8), b(100);
  EXPECT_EQ(cudaMemcpyAsync(a.data(), b.data(), 36, cudaMemcpyDeviceToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_THAT(cudaGetErrorString(cudaErrorInvalidValue),
              HasSubstr("target: the 36 bytes at +0 of allocation"));
  EXPECT_EQ(cudaMemcpyAsync(b.data(), b.data() + 4, 32, cudaMemcpyDeviceToDevice, stream_),
            cudaErrorInvalidValue)
      << "overlap";
  EXPECT_EQ(cudaMemsetAsync(a.data() + 7, 0, 8, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(a.data() + 7, 0, 4, stream_), cudaSuccess);
}

TEST_F(Copies, AHalfPinnedRangeIsRefused) {
  std::vector<float> host(100);
  ASSERT_EQ(cudaHostRegister(host.data(), 200, cudaHostRegisterDefault), cudaSuccess);
  const DeviceArray<float> device(100);
  EXPECT_EQ(cudaMemcpyAsync(device.data(), host.data(), 400, cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaHostUnregister(host.data()), cudaSuccess);
}

TEST_F(Copies, PinnedMemoryThatIsFreedTooEarlyIsFound) {
  const DeviceArray<float> device(8);
  {
    const PinnedArray<float> source(8);
    ASSERT_EQ(cudaMemcpyAsync(device.data(), source.data(), 32, cudaMemcpyHostToDevice, stream_),
              cudaSuccess);
  }
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorIllegalAddress);
  EXPECT_THAT(cudaGetErrorString(cudaErrorIllegalAddress), HasSubstr("freed before the copy had run"));
  forget_errors();
}

TEST_F(Copies, FillsBytes) {
  const DeviceArray<int> device(4);
  ASSERT_EQ(cudaMemsetAsync(device.data(), 1, 16, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_THAT(device.read(), Each(0x01010101));
}

}  // namespace
}  // namespace plumb::emulation

// What the tests of the emulated host libraries share.
#pragma once

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "host/errors.h"
#include "host/faults.h"
#include "host/stream_queue.h"
#include "host/streams.h"

namespace plumb::emulation {

/// For kernels of tests: code that touches device memory must run on a stream.
template <class Function>
cudaError_t launch(cudaStream_t stream, const char* name, Function function) {
  return enqueue(stream, name, [function] {
    function();
    return Step::Done;
  });
}

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    void* data = nullptr;
    EXPECT_EQ(cudaMalloc(&data, bytes()), cudaSuccess);
    data_ = static_cast<T*>(data);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    EXPECT_EQ(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice), cudaSuccess);
  }
  ~DeviceArray() { static_cast<void>(cudaFree(data_)); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::size_t count() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    EXPECT_EQ(cudaMemcpy(values.data(), data_, bytes(), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

template <class T>
class PinnedArray {
 public:
  explicit PinnedArray(std::size_t count) : count_(count) {
    void* data = nullptr;
    EXPECT_EQ(cudaMallocHost(&data, count * sizeof(T)), cudaSuccess);
    data_ = static_cast<T*>(data);
  }
  ~PinnedArray() { static_cast<void>(cudaFreeHost(data_)); }
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;

  T* data() const { return data_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  T& operator[](std::size_t i) { return data_[i]; }
  void fill(T value) { std::fill_n(data_, count_, value); }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

class StreamHandle {
 public:
  StreamHandle() { EXPECT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess); }
  ~StreamHandle() { static_cast<void>(cudaStreamDestroy(stream_)); }
  StreamHandle(const StreamHandle&) = delete;
  StreamHandle& operator=(const StreamHandle&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class EventHandle {
 public:
  explicit EventHandle(unsigned flags = cudaEventDisableTiming) {
    EXPECT_EQ(cudaEventCreateWithFlags(&event_, flags), cudaSuccess);
  }
  ~EventHandle() { static_cast<void>(cudaEventDestroy(event_)); }
  EventHandle(const EventHandle&) = delete;
  EventHandle& operator=(const EventHandle&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Starts with a live device, nothing queued, the lazy schedule and no faults.
class EmulatedHost : public testing::Test {
 protected:
  EmulatedHost() { start_afresh(); }
  ~EmulatedHost() override { start_afresh(); }
  // Before the members that queued kernels refer to are gone.
  void TearDown() override { discard_all(); }

  static void start_afresh() {
    discard_all();
    forget_errors();
    set_schedule("lazy");
    set_faults("");
  }
};

}  // namespace plumb::emulation

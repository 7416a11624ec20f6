// A rank's emulated device, its communicator, and tensors that go there and come back.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "comm/communicator.h"
#include "ranks.h"

namespace plumb::test {

/// How the emulated device orders its streams, as the environment says.
inline std::string stream_schedule() {
  const char* schedule = std::getenv("PLUMB_EMULATION_STREAMS");
  return schedule != nullptr ? schedule : "lazy";
}
inline bool random_schedule() { return stream_schedule().starts_with("random"); }
inline bool eager_schedule() { return stream_schedule() == "eager"; }

/// $PLUMB_TEST_BACKENDS where it is set: "cuda" on a machine with GPUs.
inline std::string device_name() {
  const char* name = std::getenv("PLUMB_TEST_BACKENDS");
  return name != nullptr ? name : "cuda-emulated";
}

class DeviceBench : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend =
      make_backend(device_name(), {.local_rank = ranks().local_rank(), .local_size = ranks().local_size()});
  std::unique_ptr<Stream> stream = backend->create_stream();

  std::unique_ptr<Communicator> make_communicator(Stream& ordered_with) {
    return backend->make_communicator(ranks(), ordered_with);
  }
  /// Asynchronous: a copy of the values is on its way when this returns.
  template <class T>
  void put(const std::vector<T>& values, const Tensor& to) {
    backend->upload(*stream, values.data(), to.data, to.bytes());
  }
  /// What the stream finds there when it has done all that was issued to it.
  template <class T>
  std::vector<T> get(const Tensor& from) {
    std::vector<T> values(static_cast<std::size_t>(from.elements()));
    backend->download(*stream, from.data, values.data(), from.bytes());
    stream->synchronize();
    return values;
  }
};

/// Memory on the device; the fixture's backend must outlive it.
template <class T>
struct DeviceVector {
  Buffer buffer;
  Tensor tensor;

  DeviceVector(Backend& backend, Shape shape)
      : buffer(backend.allocate(static_cast<std::size_t>(shape.elements()) * sizeof(T))),
        tensor(buffer.data(), dtype_of<T>, shape) {}
};

}  // namespace plumb::test

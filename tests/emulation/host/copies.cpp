// Copies and fills of the emulated CUDA runtime. When host memory is read and written follows "API
// synchronization behavior" of the runtime API's documentation: pageable sources are read before the call
// returns, pageable targets are written before it returns, pinned memory while the stream runs.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <vector>

#include "core/error.h"
#include "host/api_call.h"
#include "host/capture.h"
#include "host/device_memory.h"
#include "host/errors.h"
#include "host/host_memory.h"
#include "host/statistics.h"
#include "host/streams.h"

namespace plumb::emulation {
namespace {

struct Copy {
  const char* function;
  void* to;
  const void* from;
  std::size_t bytes;
  bool to_device, from_device;
  bool pageable_to = false, pageable_from = false;
};

cudaMemcpyKind kind_of(const Copy& copy) {
  if (copy.to_device) return copy.from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
  return copy.from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost;
}

const char* name_of(cudaMemcpyKind kind) {
  constexpr const char* kNames[] = {"copy host to host", "copy host to device", "copy device to host",
                                    "copy device to device"};
  return kNames[kind];
}

/// What is wrong with one end of a copy; empty when nothing is. Asked at the call and again when it runs.
std::string end_fault(const Copy& copy, const char* which, const void* data, bool on_device, bool pageable) {
  if (on_device) return range_fault(copy.function, which, data, copy.bytes);
  const HostRange range = host_range(data, copy.bytes);
  if (range == HostRange::Straddles)
    return fmt::format("{}: {}: only a part of the {} bytes is pinned", copy.function, which, copy.bytes);
  if (range == HostRange::Pageable && !pageable)
    return fmt::format("{}: {}: the pinned memory was freed before the copy had run", copy.function, which);
  return {};
}

std::string fault(const Copy& copy) {
  std::string text = end_fault(copy, "target", copy.to, copy.to_device, copy.pageable_to);
  if (text.empty()) text = end_fault(copy, "source", copy.from, copy.from_device, copy.pageable_from);
  const char *to = static_cast<const char*>(copy.to), *from = static_cast<const char*>(copy.from);
  if (text.empty() && to < from + copy.bytes && from < to + copy.bytes)
    text = fmt::format("{}: source and target overlap", copy.function);
  return text;
}

void run(const Copy& copy) {
  const std::string wrong = fault(copy);
  if (wrong.empty()) {
    std::memcpy(copy.to, copy.from, copy.bytes);
  } else {
    lose_device(cudaErrorIllegalAddress, wrong);
  }
}

/// The source as it was when the copy was called.
Recipe staged(const Copy& copy) {
  const char* begin = static_cast<const char*>(copy.from);
  auto kept = std::make_shared<const std::vector<char>>(begin, begin + copy.bytes);
  return immediate("copy host to device (staged)", [copy, kept] {
    const std::string wrong = end_fault(copy, "target", copy.to, true, false);
    if (wrong.empty()) {
      std::memcpy(copy.to, kept->data(), copy.bytes);
    } else {
      lose_device(cudaErrorIllegalAddress, wrong);
    }
  });
}

cudaError_t copy(Copy copy, cudaMemcpyKind kind, cudaStream_t stream) {
  if (copy.bytes == 0) return cudaSuccess;
  copy.to_device = device_memory().covers(copy.to);
  copy.from_device = device_memory().covers(copy.from);
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault)
    return refuse(cudaErrorInvalidMemcpyDirection, fmt::format("{}: kind {}", copy.function, int{kind}));
  if (copy.to == nullptr || copy.from == nullptr || (kind != cudaMemcpyDefault && kind != kind_of(copy)))
    return refuse(cudaErrorInvalidValue,
                  fmt::format("{}: the pointers are for a {}", copy.function, name_of(kind_of(copy))));
  copy.pageable_to = !copy.to_device && host_range(copy.to, copy.bytes) == HostRange::Pageable;
  copy.pageable_from = !copy.from_device && host_range(copy.from, copy.bytes) == HostRange::Pageable;
  if (const std::string wrong = fault(copy); !wrong.empty()) return refuse(cudaErrorInvalidValue, wrong);

  CUstream_st* on = find_stream(copy.function, stream);
  if (on == nullptr) return cudaErrorInvalidResourceHandle;
  if (on->capture && (copy.pageable_to || copy.pageable_from)) {
    on->capture->invalidate();
    return refuse(cudaErrorStreamCaptureUnsupported, fmt::format("{}: pageable host memory", copy.function));
  }
  ++statistics().copies;
  const bool stage = copy.to_device && copy.pageable_from;
  const cudaError_t code = submit(
      copy.function, stream, stage ? staged(copy) : immediate(name_of(kind_of(copy)), [copy] { run(copy); }));
  if (code != cudaSuccess) return code;
  const bool wait = (copy.from_device && copy.pageable_to) || (!copy.to_device && !copy.from_device);
  if (wait && !on->capture) run_until([&] { return on->queue.empty(); }, on);
  return lost_device();
}

cudaError_t fill(const char* function, void* data, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (const std::string wrong = range_fault(function, "target", data, bytes); !wrong.empty())
    return refuse(cudaErrorInvalidValue, wrong);
  return submit(function, stream, immediate("fill", [=] {
                  const std::string wrong = range_fault(function, "target", data, bytes);
                  if (wrong.empty()) {
                    std::memset(data, value, bytes);
                  } else {
                    lose_device(cudaErrorIllegalAddress, wrong);
                  }
                }));
}

}  // namespace
}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (const cudaError_t code = enter("cudaMemcpyAsync", WhileCapturing::Allowed)) return code;
  return copy({"cudaMemcpyAsync", to, from, bytes, false, false}, kind, stream);
}

// On the default stream, which non-blocking streams do not wait for.
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t code = enter("cudaMemcpy", WhileCapturing::Forbidden)) return code;
  const cudaError_t code = copy({"cudaMemcpy", to, from, bytes, false, false}, kind, nullptr);
  return code == cudaSuccess ? cudaStreamSynchronize(nullptr) : code;
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  if (const cudaError_t code = enter("cudaMemsetAsync", WhileCapturing::Allowed)) return code;
  return fill("cudaMemsetAsync", data, value, bytes, stream);
}

cudaError_t cudaMemset(void* data, int value, size_t bytes) {
  if (const cudaError_t code = enter("cudaMemset", WhileCapturing::Forbidden)) return code;
  return fill("cudaMemset", data, value, bytes, nullptr);
}

}  // extern "C"

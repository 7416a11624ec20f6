// Kernels, host functions and function attributes of the emulated CUDA runtime.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "core/error.h"
#include "host/api_call.h"
#include "host/device_memory.h"
#include "host/device_properties.h"
#include "host/errors.h"
#include "host/faults.h"
#include "host/statistics.h"
#include "host/stream_queue.h"
#include "host/streams.h"
#include "shared_limit.h"

namespace plumb::emulation {
namespace {

class Kernel final : public Operation {
 public:
  Kernel(const char* name, const std::function<Step()>& run) : name_(name), run_(run) {}
  Advance advance() override { return run_() == Step::Done ? Advance::Done : Advance::Blocked; }
  const char* name() const override { return name_; }
  std::string waits_for() const override { return "something of its own"; }

 private:
  const char* name_;
  std::function<Step()> run_;
};

std::map<const void*, std::size_t>& allowed_shared_bytes() {
  static std::map<const void*, std::size_t> bytes;
  return bytes;
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<Step()> run) {
  if (const cudaError_t code = enter(name, WhileCapturing::Allowed)) return code;
  ++statistics().launches;
  if (strikes(Fault::Launch)) {
    run = [name]() -> Step {
      lose_device(cudaErrorLaunchFailure, fmt::format("{}: injected by PLUMB_EMULATION_FAULT", name));
      return Step::Done;
    };
  }
  return submit(name, stream,
                [name, run = std::move(run)](cudaStream_t) { return std::make_unique<Kernel>(name, run); });
}

void kernel_failed(const std::string& report) { lose_device(cudaErrorLaunchFailure, report); }

cudaError_t check_shared_memory(const void* kernel, const char* name, std::size_t bytes) {
  const auto found = allowed_shared_bytes().find(kernel);
  const std::size_t allowed = found == allowed_shared_bytes().end() ? kSharedBytesPerBlock : found->second;
  if (bytes <= allowed) return cudaSuccess;
  return refuse(cudaErrorInvalidValue, fmt::format("{}: {} bytes of dynamic shared memory; {} are allowed "
                                                   "(cudaFuncAttributeMaxDynamicSharedMemorySize)",
                                                   name, bytes, allowed));
}

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  if (const cudaError_t code = enter("cudaFuncSetAttribute", WhileCapturing::Allowed)) return code;
  if (function == nullptr) return refuse(cudaErrorInvalidDeviceFunction, "cudaFuncSetAttribute");
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
    plumb::fail("cudaFuncSetAttribute: attribute {} is not modelled by the emulation",
                static_cast<int>(attribute));
  if (value < 0 || static_cast<std::size_t>(value) > shared_bytes_limit())
    return refuse(cudaErrorInvalidValue, fmt::format("cudaFuncSetAttribute: {} bytes of shared memory, of {}",
                                                     value, shared_bytes_limit()));
  allowed_shared_bytes()[function] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

// The function must not call CUDA, which the emulation refuses.
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  constexpr const char* kFunction = "cudaLaunchHostFunc";
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Allowed)) return code;
  if (function == nullptr) return refuse(cudaErrorInvalidValue, kFunction);
  return submit(kFunction, stream, immediate("host function", [=] {
                  device_memory().set_accessible(false);
                  function(data);
                  device_memory().set_accessible(true);
                }));
}

}  // extern "C"

// cudaMalloc and cudaFree of the emulated CUDA runtime.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "host/api_call.h"
#include "host/device_memory.h"
#include "host/device_properties.h"
#include "host/errors.h"
#include "host/faults.h"
#include "host/streams.h"

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaMalloc(void** data, size_t bytes) {
  if (const cudaError_t code = enter("cudaMalloc", WhileCapturing::Forbidden)) return code;
  if (data == nullptr) return refuse(cudaErrorInvalidValue, "cudaMalloc");
  *data = nullptr;
  if (bytes == 0) return cudaSuccess;
  const bool injected = strikes(Fault::Malloc);
  if (!injected) *data = device_memory().allocate(bytes, current_device());
  if (*data != nullptr) return cudaSuccess;
  return refuse(cudaErrorMemoryAllocation,
                injected ? "cudaMalloc: injected by PLUMB_EMULATION_FAULT"
                         : fmt::format("cudaMalloc: {} bytes, {} of {} are left", bytes,
                                       device_memory().left(current_device()), device_memory().capacity()));
}

// Waits for all streams first, as the real one does in effect.
cudaError_t cudaFree(void* data) {
  if (const cudaError_t code = enter("cudaFree", WhileCapturing::Forbidden)) return code;
  if (data == nullptr) return cudaSuccess;
  run_all();
  if (lost_device() != cudaSuccess) return lost_device();
  const Allocation* allocation = device_memory().starting_at(data);
  if (allocation == nullptr)
    return refuse(cudaErrorInvalidValue, fmt::format("cudaFree: {} is no start of a live allocation",
                                                     device_memory().describe(data, 1)));
  if (allocation->registrations > 0)
    return refuse(
        cudaErrorInvalidValue,
        fmt::format("cudaFree: allocation {} is registered with an NCCL communicator", allocation->number));
  const std::string overrun = device_memory().overrun(data);
  device_memory().release(data);
  if (!overrun.empty()) lose_device(cudaErrorIllegalAddress, "found by cudaFree: " + overrun);
  return lost_device();
}

}  // extern "C"

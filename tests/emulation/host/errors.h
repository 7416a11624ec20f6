// Error codes of the emulated CUDA runtime. Every code comes with the reason, which cudaGetErrorString shows
// behind the runtime's own text.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace plumb::emulation {

/// Remembers `code` as the last error and `reason` as its reason; returns `code`.
cudaError_t refuse(cudaError_t code, std::string reason = {});

/// A failure on the device, after which every call gives this error, as with a lost context. The first stays.
void lose_device(cudaError_t code, std::string reason);
/// cudaSuccess as long as the device lives.
cudaError_t lost_device();
/// Forgets all errors, the sticky one too (tests).
void forget_errors();

}  // namespace plumb::emulation

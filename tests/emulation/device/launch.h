// A launch on its way from a kernel's source to the emulated stream.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "grid.h"

namespace plumb::emulation {

/// Enqueues the grid. What the real launch refuses is an error at once, through the backend's check; an error
/// of the running kernel is one later, through kernel_failed(). `kernel` is what attributes are set for.
void launch_kernel(cudaStream_t stream, const void* kernel, const GridLaunch& launch,
                   std::function<void()> thread_body);

}  // namespace plumb::emulation

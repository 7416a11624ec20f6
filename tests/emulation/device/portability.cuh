// What device code is spelled with, on the emulated GPU (framework/backends/cuda/nvcc has the real one).
#pragma once

#define CUEMU_CUSTOM_LAUNCH 1
#include "backends/cuda/check.h"
#include "cuemu.h"
#include "host/stream_queue.h"

#define PLUMB_SHARED(type, name, dimensions) SMEM(type, name, dimensions)
#define PLUMB_DYNAMIC_SHARED(type, name) DYN_SMEM(type, name)

namespace plumb::cuda {

struct Launch {
  const char* name;
  dim3 grid, block;
  std::size_t shared_bytes;
  cudaStream_t stream;
};

/// As the real one, down to the attribute that large shared memory needs.
template <class... Parameters, class... Arguments>
void launch(const Launch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  constexpr std::size_t kWithoutOptIn = 48 * 1024;
  const void* function = reinterpret_cast<const void*>(kernel);
  if (how.shared_bytes > kWithoutOptIn) {
    check_cuda(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(how.shared_bytes)),
               how.name, __FILE__, __LINE__);
  }
  check_cuda(emulation::check_shared_memory(function, how.name, how.shared_bytes), how.name, __FILE__,
             __LINE__);
  const auto run = [=] {
    if (!cuemu::launch_blocks(how.grid, how.block, how.shared_bytes,
                              [=] { kernel(static_cast<Parameters>(arguments)...); }))
      emulation::kernel_failed(std::string(how.name) + ": " + cuemu::last_error);
    return emulation::Step::Done;
  };
  check_cuda(emulation::enqueue(how.stream, how.name, run), how.name, __FILE__, __LINE__);
}

}  // namespace plumb::cuda

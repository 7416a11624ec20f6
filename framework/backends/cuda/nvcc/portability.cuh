// What device code is spelled with, on a real GPU. The emulation has a file of the same name
// (tests/emulation); the include path decides, so kernels know nothing of it.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "backends/cuda/check.h"
#include "backends/cuda/launch_rules.h"

/// __shared__ float tile[32][33]  is spelled  PLUMB_SHARED(float, tile, [32][33]).
#define PLUMB_SHARED(type, name, dimensions) __shared__ type name dimensions
/// The launch's dynamic shared memory as an array of `type`, aligned to 128 bytes.
#define PLUMB_DYNAMIC_SHARED(type, name)                                 \
  extern __shared__ __align__(128) unsigned char plumb_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(plumb_dynamic_shared)

namespace plumb::cuda {

/// What device code is being compiled for, e.g. 90. For the second number of __launch_bounds__ alone, the
/// least number of blocks on a multiprocessor: without it ptxas chooses an occupancy itself, and spills
/// registers to reach it if they are few. Where it does so, it is told to be content with less; 0 says
/// nothing.
#ifdef __CUDA_ARCH__
inline constexpr int kArchitecture = __CUDA_ARCH__ / 10;
#else
inline constexpr int kArchitecture = 0;
#endif

/// Where and how a kernel runs. `name` is for messages and must be a literal.
struct Launch {
  const char* name;
  dim3 grid, block;
  std::size_t shared_bytes;
  cudaStream_t stream;
};

/// Kernels are launched by this call only. Throws when the launch is refused.
template <class... Parameters, class... Arguments>
void launch(const Launch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  allow_shared_memory(reinterpret_cast<const void*>(kernel), how.shared_bytes, how.name);
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = how.block;
  config.dynamicSmemBytes = how.shared_bytes;
  config.stream = how.stream;
  check_cuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), how.name, __FILE__,
             __LINE__);
}

}  // namespace plumb::cuda

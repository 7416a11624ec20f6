// What device code is spelled with, on the emulated GPU (framework/backends/cuda/nvcc has the real one).
#pragma once

#include <utility>

#include "kernel_language.h"
#include "launch.h"

namespace plumb::cuda {

/// None: launch bounds mean nothing here.
inline constexpr int kArchitecture = 0;

/// Where and how a kernel runs. `name` is for messages and must be a literal.
struct Launch {
  const char* name;
  dim3 grid, block;
  std::size_t shared_bytes;
  cudaStream_t stream;
};

/// The kernel runs when the stream comes to it; arguments are copied now. Throws when the launch is refused.
template <class... Parameters, class... Arguments>
void launch(const Launch& how, void (*kernel)(Parameters...), Arguments... arguments) {
  emulation::launch_kernel(how.stream, reinterpret_cast<const void*>(kernel),
                           {how.name, how.grid, how.block, how.shared_bytes, how.shared_bytes > 0},
                           [kernel, ... values = static_cast<Parameters>(arguments)] { kernel(values...); });
}

}  // namespace plumb::cuda

// What device code is spelled with, on the emulated GPU (framework/backends/cuda/nvcc has the real one).
#pragma once

#define CUEMU_CUSTOM_LAUNCH 1
#include "backends/cuda/check.h"
#include "cuemu.h"
#include "host/emu_stream.h"

#define PLUMB_SHARED(type, name, dimensions) SMEM(type, name, dimensions)
#define PLUMB_DYNAMIC_SHARED(type, name) DYN_SMEM(type, name)

namespace emu {
void kernel_failed(const char*);
}

namespace plumb::cuda {

struct Launch {
  const char* name;
  dim3 grid, block;
  std::size_t shared_bytes;
  cudaStream_t stream;
};

template <class... P, class... A>
void launch(const Launch& how, void (*k)(P...), A... a) {
  emu::enqueue(how.stream, how.name, [=] {
    if (!cuemu::launch_blocks(how.grid, how.block, how.shared_bytes, [=] { k(static_cast<P>(a)...); }))
      emu::kernel_failed((std::string(how.name) + ": " + cuemu::last_error).c_str());
    return emu::Step::Done;
  });
}

}  // namespace plumb::cuda

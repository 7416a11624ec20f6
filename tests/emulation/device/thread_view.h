// What a running CUDA thread can ask for at any time: its place in block and grid.
#pragma once

#include <vector_types.h>

namespace plumb::emulation {

struct BlockView {
  uint3 index{};
  dim3 threads, grid;
};

struct ThreadView {
  uint3 index{};
  unsigned rank = 0;  ///< in the block: x fastest, then y, z
  const BlockView* block = nullptr;
};

/// The thread that runs on this operating-system thread. Read very often, hence the faster way to
/// thread-local storage, of which a library that is loaded at run time may use a little.
extern constinit thread_local const ThreadView* running_thread [[gnu::tls_model("initial-exec")]];

}  // namespace plumb::emulation

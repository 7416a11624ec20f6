// What the launch of a kernel must do, on a GPU and on the emulated one.
#pragma once

#include <cstddef>

namespace plumb::cuda {

/// Whether a launch asks for its dynamic shared memory (cudaFuncAttributeMaxDynamicSharedMemorySize). A block
/// whose kernel did not ask has 48 KiB for static and dynamic variables together (CUDA C++ Programming
/// Guide), and the host does not know the static ones: every launch with dynamic shared memory asks.
constexpr bool asks_for_shared_memory(std::size_t dynamic_bytes) { return dynamic_bytes > 0; }

/// Bytes of shared memory that a block may have that asks for them, static and dynamic together: 227 KiB on
/// sm_90 and sm_100, 163 KiB on sm_80 (the same guide). Of the device of this thread; read once.
std::size_t shared_bytes_of_block();

}  // namespace plumb::cuda

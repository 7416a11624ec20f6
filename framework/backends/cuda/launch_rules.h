// What the launch of a kernel must do, on a GPU and on the emulated one.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <mutex>
#include <unordered_map>

#include "backends/cuda/check.h"

namespace plumb::cuda {

/// Asks for the dynamic shared memory of a launch (cudaFuncAttributeMaxDynamicSharedMemorySize). Every launch
/// that has any must: a block whose kernel did not ask has 48 KiB for static and dynamic variables together
/// (CUDA C++ Programming Guide), and the host does not know the static ones. The limit belongs to the kernel,
/// not to the launch, and a recorded graph may hold a launch that needs more than the next one: so it only
/// ever rises.
inline void allow_shared_memory(const void* kernel, std::size_t dynamic_bytes, const char* name) {
  if (dynamic_bytes == 0) return;
  static std::mutex mutex;
  static std::unordered_map<const void*, std::size_t> allowed;
  const std::lock_guard lock(mutex);
  std::size_t& most = allowed[kernel];
  if (dynamic_bytes <= most) return;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(dynamic_bytes)),
             name, __FILE__, __LINE__);
  most = dynamic_bytes;
}

/// Bytes of shared memory that a block may have that asks for them, static and dynamic together: 227 KiB on
/// sm_90 and sm_100, 163 KiB on sm_80 (the same guide). Of the device of this thread; read once.
std::size_t shared_bytes_of_block();

}  // namespace plumb::cuda

// The emulated devices.
#pragma once

#include <cstddef>

namespace plumb::emulation {

/// Dynamic shared memory of a block without cudaFuncAttributeMaxDynamicSharedMemorySize; with it:
/// shared_limit.h.
inline constexpr std::size_t kSharedBytesPerBlock = 48 * 1024;

/// Of those that CUDA_VISIBLE_DEVICES leaves, as in cudaGetDevice.
int current_device();

/// The device's number in the machine, which is part of its PCI bus id.
int physical_device(int device);

}  // namespace plumb::emulation

// The emulated devices.
#pragma once

#include <cstddef>

namespace plumb::emulation {

/// Dynamic shared memory of a block, without and with cudaFuncAttributeMaxDynamicSharedMemorySize (compute
/// capability 9.0).
inline constexpr std::size_t kSharedBytesPerBlock = 48 * 1024;
inline constexpr std::size_t kSharedBytesPerBlockOptIn = 227 * 1024;

/// Of those that CUDA_VISIBLE_DEVICES leaves, as in cudaGetDevice.
int current_device();

/// The device's number in the machine, which is part of its PCI bus id.
int physical_device(int device);

}  // namespace plumb::emulation

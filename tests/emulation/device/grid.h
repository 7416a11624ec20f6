// Running a kernel's grid: all that the emulated libraries need to know of the emulated device.
#pragma once

#include <vector_types.h>

#include <cstddef>
#include <functional>
#include <string>

namespace plumb::emulation {

struct GridLaunch {
  const char* name;  ///< for messages; must outlive the launch
  dim3 grid, block;
  std::size_t shared_bytes = 0;   ///< dynamic shared memory; that the kernel may have more than 48 KiB of it
                                  ///< is the libraries' business
  bool asked_for_shared = false;  ///< cudaFuncAttributeMaxDynamicSharedMemorySize was set; otherwise a block
                                  ///< has 48 KiB for static and dynamic variables together
};

/// Why the device refuses the launch (an invalid configuration); empty if it does not.
std::string refusal(const GridLaunch& launch);

/// Runs thread_body() once for every thread of the grid, one block after another. False if the device refuses
/// the launch or a block failed, after which no further block is begun; last_error() says why, with the names
/// of kernel, block, thread and place. One launch runs at a time: a second caller waits.
bool run_grid(const GridLaunch& launch, const std::function<void()>& thread_body);

/// Of this operating-system thread's last run_grid; empty if it succeeded.
const std::string& last_error();

}  // namespace plumb::emulation

// How much shared memory a block of the emulated device may have.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace plumb::emulation {

/// 227 KiB, as on sm_90 and sm_100, or what PLUMB_EMULATION_SHARED_KIB says: 163 on sm_80 (CUDA C++
/// Programming Guide, "Technical Specifications per Compute Capability"). Throws std::invalid_argument.
inline std::size_t shared_bytes_limit() {
  static const std::size_t bytes = [] {
    const char* text = std::getenv("PLUMB_EMULATION_SHARED_KIB");
    if (text == nullptr || *text == 0) return std::size_t{227} * 1024;
    char* end = nullptr;
    const unsigned long value = std::strtoul(text, &end, 10);
    if (*end != 0 || value < 48 || value > 227)
      throw std::invalid_argument("PLUMB_EMULATION_SHARED_KIB is '" + std::string(text) +
                                  "', not a number from 48 to 227");
    return static_cast<std::size_t>(value) * 1024;
  }();
  return bytes;
}

}  // namespace plumb::emulation

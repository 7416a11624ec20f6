// Red zones under AddressSanitizer; nothing in other builds.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
extern "C" {
void __asan_poison_memory_region(const volatile void* begin, std::size_t bytes);
void __asan_unpoison_memory_region(const volatile void* begin, std::size_t bytes);
}
#endif

namespace plumb::emulation {

#ifdef __SANITIZE_ADDRESS__
inline void forbid_access(const void* begin, std::size_t bytes) { __asan_poison_memory_region(begin, bytes); }
inline void allow_access(const void* begin, std::size_t bytes) {
  __asan_unpoison_memory_region(begin, bytes);
}
#else
inline void forbid_access(const void*, std::size_t) {}
inline void allow_access(const void*, std::size_t) {}
#endif

}  // namespace plumb::emulation

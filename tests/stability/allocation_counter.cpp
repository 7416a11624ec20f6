#include "allocation_counter.h"

#include <cstdlib>
#include <new>

namespace {
thread_local std::int64_t count = 0;
}

namespace plumb::test {
std::int64_t allocations_of_this_thread() { return count; }
}  // namespace plumb::test

void* operator new(std::size_t bytes) {
  ++count;
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++count;
  return std::malloc(bytes > 0 ? bytes : 1);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

#include "stack.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace plumb::emulation {
namespace {
constexpr std::size_t kGuardBytes = 4096;
}

Stack::Stack(std::size_t bytes) : bytes_(bytes) {
  void* mapped = mmap(nullptr, bytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapped, kGuardBytes, PROT_NONE);
  memory_ = static_cast<char*>(mapped) + kGuardBytes;
}

Stack::~Stack() {
  if (memory_ != nullptr) munmap(memory_ - kGuardBytes, bytes_ + kGuardBytes);
}

Stack::Stack(Stack&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Stack& Stack::operator=(Stack&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace plumb::emulation

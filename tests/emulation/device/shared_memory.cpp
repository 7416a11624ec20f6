#include "shared_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

#include "sanitizer.h"
#include "shared_limit.h"

namespace plumb::emulation {
namespace {

constexpr std::size_t kAlignment = 128;
constexpr std::size_t kGuardBytes = 128;
constexpr std::size_t kMappedBytes = std::size_t{1} << 20;  // variables, their guards and padding
constexpr int kNanByte = 0xff;
constexpr int kGuardByte = 0xa5;

std::size_t round_up(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool intact(const char* guard, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (guard[i] != static_cast<char>(kGuardByte)) return false;
  }
  return true;
}

char* map() {
  void* mapped =
      mmap(nullptr, kMappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(mapped);
}

}  // namespace

SharedMemory::SharedMemory() : memory_(map()) { sanitizer::poison(memory_, kMappedBytes); }

SharedMemory::~SharedMemory() {
  sanitizer::unpoison(memory_, kMappedBytes);
  munmap(memory_, kMappedBytes);
}

/// The thread sanitizer forgets what happened to memory when it is unmapped.
void SharedMemory::renew() {
  munmap(memory_, kMappedBytes);
  memory_ = map();
}

void SharedMemory::begin_block(std::size_t dynamic_bytes, std::size_t most_bytes) {
  if constexpr (sanitizer::kFreshSharedMemory) renew();
  sanitizer::poison(memory_, used_);
  dynamic_.bytes = dynamic_bytes;
  most_bytes_ = most_bytes;
  slots_.clear();
  used_ = static_bytes_ = 0;
  error_.clear();
}

char* SharedMemory::take(const SharedDeclaration& declaration) {
  const std::size_t padded = round_up(declaration.bytes);
  char* guard = memory_ + used_;
  char* variable = guard + kGuardBytes;
  used_ += kGuardBytes + padded;
  sanitizer::unpoison(guard, padded + 2 * kGuardBytes);
  {
    const sanitizer::Unseen unseen;
    std::memset(guard, kGuardByte, kGuardBytes);
    std::memset(variable, kNanByte, declaration.bytes);
    std::memset(variable + declaration.bytes, kGuardByte, padded - declaration.bytes + kGuardBytes);
  }
  sanitizer::poison(guard, kGuardBytes);
  sanitizer::poison(variable + declaration.bytes, padded - declaration.bytes + kGuardBytes);
  return variable;
}

void* SharedMemory::variable(const SharedDeclaration& declaration) {
  for (const Slot& slot : slots_) {
    if (slot.declaration == &declaration) return slot.memory;
  }
  if (&declaration != &dynamic_) {
    static_bytes_ += declaration.bytes;
    if (static_bytes_ > kStaticSharedBytes || static_bytes_ + dynamic_.bytes > most_bytes_) {
      error_ = "with " + std::string(declaration.name) + " a block needs " + std::to_string(static_bytes_) +
               " bytes of static and " + std::to_string(dynamic_.bytes) +
               " of dynamic shared memory; at most " + std::to_string(kStaticSharedBytes) +
               " static and together " + std::to_string(most_bytes_) + " are possible";
      if (most_bytes_ < shared_bytes_limit()) error_ += " without asking for more";
      return nullptr;
    }
  }
  if (used_ + round_up(declaration.bytes) + 2 * kGuardBytes > kMappedBytes) {
    error_ = "too many shared variables";
    return nullptr;
  }
  slots_.push_back({&declaration, take(declaration)});
  return slots_.back().memory;
}

std::string SharedMemory::damage() const {
  for (const Slot& slot : slots_) {
    const std::size_t bytes = slot.declaration->bytes;
    const std::size_t behind = round_up(bytes) - bytes + kGuardBytes;
    sanitizer::unpoison(slot.memory - kGuardBytes, kGuardBytes);
    sanitizer::unpoison(slot.memory + bytes, behind);
    const sanitizer::Unseen unseen;
    if (!intact(slot.memory - kGuardBytes, kGuardBytes))
      return std::string(slot.declaration->name) + " (shared) was written to before its beginning";
    if (!intact(slot.memory + bytes, behind))
      return std::string(slot.declaration->name) + " (shared) was written to beyond its end";
  }
  return "";
}

bool SharedMemory::holds(const void* memory, std::size_t bytes) const {
  const auto* begin = static_cast<const char*>(memory);
  for (const Slot& slot : slots_) {
    if (begin >= slot.memory && begin + bytes <= slot.memory + slot.declaration->bytes) return true;
  }
  return false;
}

}  // namespace plumb::emulation

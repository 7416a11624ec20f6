#include "async_copies.h"

#include <cstring>

#include "sanitizer.h"

namespace plumb::emulation {
namespace {
constexpr int kNanByte = 0xff;
}

void AsyncCopies::start(void* target, std::size_t target_bytes, const void* source, std::size_t bytes) {
  sanitizer::writes(target, target_bytes);
  {
    const sanitizer::Unseen unseen;
    std::memset(target, kNanByte, target_bytes);
  }
  copies_.push_back({target, target_bytes, source, bytes, groups_});
}

void AsyncCopies::wait(unsigned groups_left) {
  std::size_t kept = 0;
  for (const Copy& copy : copies_) {
    if (copy.group + groups_left >= groups_) {
      copies_[kept++] = copy;
      continue;
    }
    sanitizer::reads(copy.source, copy.bytes);
    sanitizer::writes(copy.target, copy.target_bytes);
    const sanitizer::Unseen unseen;
    std::memcpy(copy.target, copy.source, copy.bytes);
    std::memset(static_cast<char*>(copy.target) + copy.bytes, 0, copy.target_bytes - copy.bytes);
  }
  copies_.resize(kept);
}

void AsyncCopies::forget() {
  copies_.clear();
  groups_ = 0;
}

}  // namespace plumb::emulation

#include "backend/backend.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "comm/communicator.h"
#include "core/error.h"

namespace plumb {

Buffer Backend::allocate_for_communication(std::size_t bytes) { return allocate(bytes); }
std::unique_ptr<Communicator> Backend::make_communicator(Communicator&, Stream&) { return nullptr; }

Buffer Backend::counted(void* data, std::size_t bytes, Buffer::Free free) {
  memory_use_->bytes += bytes;
  memory_use_->peak = std::max(memory_use_->peak, memory_use_->bytes);
  memory_use_->allocations += 1;
  return Buffer(data, bytes, [use = memory_use_, release = std::move(free)](void* memory, std::size_t size) {
    use->bytes -= size;
    release(memory, size);
  });
}

Buffer Backend::counted(Buffer buffer) {
  auto owned = std::make_shared<Buffer>(std::move(buffer));
  return counted(owned->data(), owned->bytes(), [owned](void*, std::size_t) mutable { owned.reset(); });
}

std::unique_ptr<Recording> Backend::record(Stream&, const std::function<void()>&) {
  fail("the {} backend cannot record steps; set compute.captured_steps = false", name());
}

Buffer Backend::allocate_host(std::size_t bytes) {
  constexpr std::align_val_t kAlignment{64};
  void* data = ::operator new(bytes, kAlignment);
  std::memset(data, 0, bytes);
  return Buffer(data, bytes, [](void* memory, std::size_t) { ::operator delete(memory, kAlignment); });
}

}  // namespace plumb

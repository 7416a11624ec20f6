#include "backend/backend.h"

#include <cstring>
#include <new>

#include "comm/communicator.h"
#include "core/error.h"

namespace plumb {

std::unique_ptr<Communicator> Backend::make_communicator() { return nullptr; }

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

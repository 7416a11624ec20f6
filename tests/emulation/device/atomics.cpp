#include "atomics.h"

#include "sanitizer.h"

namespace plumb::emulation {
namespace {
char fence_token = 0;
}

/// Workers are threads of the host, hence the host's fence.
void thread_fence() {
  sanitizer::acquire(&fence_token);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  sanitizer::release(&fence_token);
}

}  // namespace plumb::emulation

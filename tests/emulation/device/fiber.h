// A CUDA thread as a fiber: a stack of its own, and where it stands.
#pragma once

#include <source_location>

#include "async_copies.h"
#include "context.h"
#include "sanitizer.h"
#include "stack.h"
#include "thread_view.h"

namespace plumb::emulation {

class BlockEngine;

/// Where a thread waits, for reports.
struct WaitingPoint {
  const char* operation = nullptr;  ///< null: it does not wait
  std::source_location location;
  unsigned mask = 0;  ///< lanes that a warp operation names
};

/// Aligned so that what every change of fibers touches lies in few cache lines.
struct alignas(64) Fiber : ThreadView {
  BlockEngine* engine = nullptr;
  Context context;
  void* lane_argument = nullptr;  ///< of the warp operation that it takes part in
  WaitingPoint waits;
  sanitizer::FiberState sanitizer_state;
  Stack stack;
  bool at_start = false;  ///< its stack is prepared, or it has run to its end
  AsyncCopies copies;

  /// The running thread's fiber.
  static Fiber& running() { return *const_cast<Fiber*>(static_cast<const Fiber*>(running_thread)); }
};

}  // namespace plumb::emulation

// What the address sanitizer must be told about fibers and shared memory (sanitizer/asan_interface.h,
// sanitizer/common_interface_defs.h); sanitizers/none/sanitizer.h says what each function is for.
#pragma once

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include <cstddef>

namespace plumb::emulation::sanitizer {

inline constexpr unsigned kFiberSets = 1;
inline constexpr bool kFreshSharedMemory = false;
inline constexpr bool kSeveralWorkers = true;
inline constexpr std::size_t kStackBytes = 256 * 1024;

struct FiberState {
  const void* stack = nullptr;
  std::size_t stack_bytes = 0;
  void* fake_stack = nullptr;
  FiberState* came_from = nullptr;
  bool adopted = false;
};

inline void create(FiberState&, unsigned /*thread*/) {}
inline void destroy(FiberState&) {}
/// The bounds of the stack become known with the first change away from it.
inline void adopt(FiberState& state) {
  state = FiberState{};
  state.adopted = true;
}
inline void stack_of(FiberState& state, const char* stack, std::size_t bytes) {
  state.stack = stack;
  state.stack_bytes = bytes;
}
inline void before_change(FiberState& from, FiberState& to) {
  to.came_from = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
}
inline void after_change(FiberState& now) {
  const void* stack = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(now.fake_stack, &stack, &bytes);
  if (now.came_from->adopted) stack_of(*now.came_from, static_cast<const char*>(stack), bytes);
}
inline void forget_frames(char* stack, std::size_t bytes) { __asan_unpoison_memory_region(stack, bytes); }

inline void poison(const void* memory, std::size_t bytes) { __asan_poison_memory_region(memory, bytes); }
inline void unpoison(const void* memory, std::size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }

// The engine is instrumented: its own accesses are checked.
inline void reads(const void*, std::size_t) {}
inline void writes(void*, std::size_t) {}

inline void release(void* /*token*/) {}
inline void acquire(void* /*token*/) {}

struct Unseen {
  Unseen() {}
  ~Unseen() {}
};

}  // namespace plumb::emulation::sanitizer

// What the thread sanitizer must be told about fibers and shared memory (sanitizer/tsan_interface.h);
// sanitizers/none/sanitizer.h says what each function is for. The engine itself is compiled without the
// sanitizer, so that its bookkeeping is neither seen nor orders anything: only these calls do.
#pragma once

#include <cstddef>
#include <string>

extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_set_fiber_name(void* fiber, const char* name);
void __tsan_acquire(void* token);
void __tsan_release(void* token);
void __tsan_read_range(void* memory, unsigned long bytes);
void __tsan_write_range(void* memory, unsigned long bytes);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace plumb::emulation::sanitizer {

/// A conflict between two blocks is seen only if different fibers ran them.
inline constexpr unsigned kFiberSets = 4;
/// A block's writes to shared memory would conflict with those of the block that had it before.
inline constexpr bool kFreshSharedMemory = true;
inline constexpr bool kSeveralWorkers = false;
inline constexpr std::size_t kStackBytes = 128 * 1024;

struct FiberState {
  void* identity = nullptr;
};

inline void create(FiberState& state, unsigned thread) {
  state.identity = __tsan_create_fiber(0);
  __tsan_set_fiber_name(state.identity, ("CUDA thread " + std::to_string(thread)).c_str());
}
inline void destroy(FiberState& state) {
  if (state.identity != nullptr) __tsan_destroy_fiber(state.identity);
  state.identity = nullptr;
}
inline void adopt(FiberState& state) { state.identity = __tsan_get_current_fiber(); }
inline void stack_of(FiberState&, const char* /*stack*/, std::size_t /*bytes*/) {}
inline void before_change(FiberState& /*from*/, FiberState& to) {
  constexpr unsigned kOrdersNothing = 1;
  __tsan_switch_to_fiber(to.identity, kOrdersNothing);
}
inline void after_change(FiberState& /*now*/) {}
inline void forget_frames(char* /*stack*/, std::size_t /*bytes*/) {}

inline void poison(const void*, std::size_t) {}
inline void unpoison(const void*, std::size_t) {}

inline void reads(const void* memory, std::size_t bytes) {
  __tsan_read_range(const_cast<void*>(memory), bytes);
}
inline void writes(void* memory, std::size_t bytes) { __tsan_write_range(memory, bytes); }

inline void release(void* token) { __tsan_release(token); }
inline void acquire(void* token) { __tsan_acquire(token); }

class Unseen {
 public:
  Unseen() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unseen() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

}  // namespace plumb::emulation::sanitizer

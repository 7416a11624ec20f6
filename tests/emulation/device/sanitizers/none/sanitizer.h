// What a sanitizer must be told about fibers and shared memory, in a build without one: nothing. The include
// path decides between this file and its namesakes.
#pragma once

#include <cstddef>

namespace plumb::emulation::sanitizer {

/// How many sets of fibers take turns in running blocks. One is enough unless a sanitizer tells blocks apart
/// by the fibers that ran them.
inline constexpr unsigned kFiberSets = 1;
/// Whether every block of a launch needs shared memory at addresses that no block before it had.
inline constexpr bool kFreshSharedMemory = false;
inline constexpr bool kSeveralWorkers = true;
/// Instrumented code has larger frames.
inline constexpr std::size_t kStackBytes = 64 * 1024;

/// What the sanitizer keeps for a fiber.
struct FiberState {};

inline void create(FiberState&, unsigned /*thread*/) {}
inline void destroy(FiberState&) {}
/// For the state of the flow of control that runs already.
inline void adopt(FiberState&) {}
/// Around every change of stacks; before() on the side that stops, after() on the side that goes on.
inline void before_change(FiberState& /*from*/, FiberState& /*to*/) {}
inline void after_change(FiberState& /*now*/) {}
inline void stack_of(FiberState&, const char* /*stack*/, std::size_t /*bytes*/) {}
/// A stack whose frames were abandoned will be used from its beginning.
inline void forget_frames(char* /*stack*/, std::size_t /*bytes*/) {}

inline void poison(const void*, std::size_t) {}
inline void unpoison(const void*, std::size_t) {}

/// An access of the running thread that the engine makes in its place.
inline void reads(const void*, std::size_t) {}
inline void writes(void*, std::size_t) {}

/// What the caller did before release(token) happens before what follows a later acquire(token).
inline void release(void* /*token*/) {}
inline void acquire(void* /*token*/) {}

/// While one lives, this thread's accesses by library calls (memset, memcmp) are nobody's business. No fiber
/// may stop meanwhile.
struct Unseen {
  Unseen() {}
  ~Unseen() {}
};

}  // namespace plumb::emulation::sanitizer

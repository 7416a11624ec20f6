// Which thread of a block runs next: one bit per thread for "may run" and for "has ended".
#pragma once

#include <array>
#include <cstdint>

#include "settings.h"

namespace plumb::emulation {

inline constexpr unsigned kLanes = 32;
inline constexpr unsigned kMaximumThreads = 1024;
inline constexpr unsigned kMaximumWarps = kMaximumThreads / kLanes;

class ThreadScheduler {
 public:
  static constexpr int kNobody = -1;

  void set_order(Order order, std::uint32_t seed);
  /// A new block: all its threads may run. Lanes of the last warp beyond the block count as ended.
  void begin_block(unsigned threads);

  /// The thread that runs next, or kNobody. Lanes of the same warp as `current` come first, so that a warp
  /// runs until it waits; a random order knows no such preference.
  int next(unsigned current);
  /// Where a block begins.
  int first() { return next(order_ == Order::Reverse ? threads_ - 1 : 0); }

  void stop(unsigned thread) { ready_[thread / kLanes] &= ~bit(thread); }
  void wake(unsigned warp, std::uint32_t lanes) { ready_[warp] |= lanes; }
  /// All that have not ended.
  void wake_block();
  void end(unsigned thread);

  std::uint32_t ended_lanes(unsigned warp) const { return ended_[warp]; }
  /// Threads that have not ended.
  unsigned live() const { return live_; }

 private:
  static constexpr std::uint32_t bit(unsigned thread) { return 1U << thread % kLanes; }
  std::uint32_t random();

  Order order_ = Order::Forward;
  std::uint32_t random_state_ = 1;
  unsigned threads_ = 0, warps_ = 0, live_ = 0;
  std::array<std::uint32_t, kMaximumWarps> ready_{}, ended_{};
};

}  // namespace plumb::emulation

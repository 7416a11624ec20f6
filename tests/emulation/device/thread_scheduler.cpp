#include "thread_scheduler.h"

#include <bit>

namespace plumb::emulation {
namespace {

/// The first set lane at or after `lane`, going round.
unsigned lane_from(std::uint32_t lanes, unsigned lane) {
  const auto turned = std::rotr(lanes, static_cast<int>(lane));
  return (lane + static_cast<unsigned>(std::countr_zero(turned))) % kLanes;
}
/// The first set lane at or before `lane`, going round.
unsigned lane_down_from(std::uint32_t lanes, unsigned lane) {
  const auto turned = std::rotl(lanes, static_cast<int>(kLanes - 1 - lane));
  return (lane + kLanes - static_cast<unsigned>(std::countl_zero(turned))) % kLanes;
}

}  // namespace

void ThreadScheduler::set_order(Order order, std::uint32_t seed) {
  order_ = order;
  random_state_ = seed * 2654435761U + 1;  // Knuth's multiplier spreads small seeds
  if (random_state_ == 0) random_state_ = 1;
}

void ThreadScheduler::begin_block(unsigned threads) {
  threads_ = live_ = threads;
  warps_ = (threads + kLanes - 1) / kLanes;
  ended_.fill(0);
  if (threads % kLanes != 0) ended_[warps_ - 1] = ~((1U << threads % kLanes) - 1);
  wake_block();
}

/// Marsaglia's xorshift, 2003.
std::uint32_t ThreadScheduler::random() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 17;
  random_state_ ^= random_state_ << 5;
  return random_state_;
}

int ThreadScheduler::next(unsigned current) {
  unsigned warp = current / kLanes, lane = current % kLanes;
  if (order_ == Order::Random) {
    warp = random() % warps_;
    lane = random() % kLanes;
  }
  const bool down = order_ == Order::Reverse;
  for (unsigned tried = 0; tried < warps_; ++tried) {
    if (const std::uint32_t lanes = ready_[warp]; lanes != 0) {
      const unsigned found = down ? lane_down_from(lanes, lane) : lane_from(lanes, lane);
      return static_cast<int>(warp * kLanes + found);
    }
    if (down) {
      warp = warp == 0 ? warps_ - 1 : warp - 1;
      lane = kLanes - 1;
    } else {
      warp = warp + 1 == warps_ ? 0 : warp + 1;
      lane = 0;
    }
  }
  return kNobody;
}

void ThreadScheduler::wake_block() {
  for (unsigned warp = 0; warp < warps_; ++warp) ready_[warp] = ~ended_[warp];
}

void ThreadScheduler::end(unsigned thread) {
  --live_;
  ready_[thread / kLanes] &= ~bit(thread);
  ended_[thread / kLanes] |= bit(thread);
}

}  // namespace plumb::emulation

#include "warp_intrinsics.h"

#include <algorithm>

#include "block_engine.h"
#include "places.h"

namespace plumb::emulation {
namespace {

constexpr int kWarpLanes = static_cast<int>(kLanes);

void take_part(const WarpOperation& operation, unsigned mask, void* argument, Location location) {
  Fiber& fiber = Fiber::running();
  fiber.engine->warp_operations().take_part(fiber, operation, mask, argument, location);
}

void complete_nothing(WarpLanes&) {}

struct ShuffleLane {
  std::uint64_t value = 0, result = 0;
  int source = 0;
};

void complete_shuffle(WarpLanes& lanes) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!lanes.has(lane)) continue;
    auto& mine = lanes.of<ShuffleLane>(lane);
    const auto source = static_cast<unsigned>(mine.source);
    if (!lanes.has(source)) {
      const bool named = (lanes.mask >> source & 1U) != 0;
      lanes.engine.fail(*lanes.fibers[lane], place(lanes.operation, lanes.location) + ": lane " +
                                                 std::to_string(lane) + " reads lane " +
                                                 std::to_string(source) + ", which " +
                                                 (named ? "has ended" : "is not in the mask"));
    }
    mine.result = lanes.of<ShuffleLane>(source).value;
  }
}

/// The lane that `lane` reads. Beyond its own segment of `width` lanes it reads itself.
int source_of(Shuffle kind, int lane, int selector, int width) {
  const int segment = lane & ~(width - 1), place_in_segment = lane & (width - 1);
  switch (kind) {
    case Shuffle::Index:
      return segment | (selector & (width - 1));
    case Shuffle::Up:
      return place_in_segment - selector < 0 ? lane : lane - selector;
    case Shuffle::Down:
      return place_in_segment + selector >= width ? lane : lane + selector;
    case Shuffle::Xor:
      // Lanes of earlier segments may be read, of later ones not.
      return (lane ^ selector) > (segment | (width - 1)) ? lane : lane ^ selector;
  }
  return lane;
}

constexpr WarpOperation kShuffles[] = {{"__shfl_sync", complete_shuffle},
                                       {"__shfl_up_sync", complete_shuffle},
                                       {"__shfl_down_sync", complete_shuffle},
                                       {"__shfl_xor_sync", complete_shuffle}};

struct VoteLane {
  bool predicate = false;
  std::uint32_t result = 0;
};

void complete_vote(WarpLanes& lanes) {
  std::uint32_t votes = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (lanes.has(lane) && lanes.of<VoteLane>(lane).predicate) votes |= 1U << lane;
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (lanes.has(lane)) lanes.of<VoteLane>(lane).result = votes;
  }
}

struct ReductionLane {
  Reduction kind = Reduction::Add;
  std::uint32_t value = 0;
};

std::uint32_t combine(Reduction kind, std::uint32_t a, std::uint32_t b) {
  const auto signed_a = static_cast<std::int32_t>(a), signed_b = static_cast<std::int32_t>(b);
  switch (kind) {
    case Reduction::Add:
      return a + b;
    case Reduction::Minimum:
      return std::min(a, b);
    case Reduction::Maximum:
      return std::max(a, b);
    case Reduction::MinimumSigned:
      return static_cast<std::uint32_t>(std::min(signed_a, signed_b));
    case Reduction::MaximumSigned:
      return static_cast<std::uint32_t>(std::max(signed_a, signed_b));
    case Reduction::And:
      return a & b;
    case Reduction::Or:
      return a | b;
    case Reduction::Xor:
      return a ^ b;
  }
  return 0;
}

void complete_reduction(WarpLanes& lanes) {
  bool first = true;
  std::uint32_t total = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!lanes.has(lane)) continue;
    const auto& mine = lanes.of<ReductionLane>(lane);
    total = first ? mine.value : combine(mine.kind, total, mine.value);
    first = false;
  }
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (lanes.has(lane)) lanes.of<ReductionLane>(lane).value = total;
  }
}

struct MatchLane {
  std::uint64_t value = 0;
  std::uint32_t result = 0;
};

void complete_match(WarpLanes& lanes) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!lanes.has(lane)) continue;
    auto& mine = lanes.of<MatchLane>(lane);
    for (unsigned other = 0; other < kLanes; ++other) {
      if (lanes.has(other) && lanes.of<MatchLane>(other).value == mine.value) mine.result |= 1U << other;
    }
  }
}

}  // namespace

void sync_warp(unsigned mask, Location location) {
  static constexpr WarpOperation kOperation{"__syncwarp", complete_nothing, true};
  take_part(kOperation, mask, nullptr, location);
}

std::uint64_t shuffle(Shuffle kind, unsigned mask, std::uint64_t value, int selector, int width,
                      Location location) {
  Fiber& fiber = Fiber::running();
  const WarpOperation& operation = kShuffles[static_cast<int>(kind)];
  if (width < 1 || width > kWarpLanes || (width & (width - 1)) != 0) {
    fiber.engine->fail(fiber, place(operation.name, location) + ": the width is " + std::to_string(width) +
                                  ", no power of two up to 32");
  }
  const int lane = static_cast<int>(fiber.rank % kLanes);
  // The instruction has five bits for the selector.
  ShuffleLane mine{value, 0, source_of(kind, lane, selector & (kWarpLanes - 1), width)};
  take_part(operation, mask, &mine, location);
  return mine.result;
}

std::uint32_t ballot(Vote kind, unsigned mask, bool predicate, Location location) {
  static constexpr WarpOperation kVotes[] = {
      {"__ballot_sync", complete_vote}, {"__any_sync", complete_vote}, {"__all_sync", complete_vote}};
  VoteLane mine{predicate, 0};
  take_part(kVotes[static_cast<int>(kind)], mask, &mine, location);
  return mine.result;
}

std::uint32_t reduce(Reduction kind, unsigned mask, std::uint32_t value, Location location) {
  static constexpr WarpOperation kOperation{"__reduce_sync", complete_reduction};
  ReductionLane mine{kind, value};
  take_part(kOperation, mask, &mine, location);
  return mine.value;
}

std::uint32_t match(unsigned mask, std::uint64_t value, Location location) {
  static constexpr WarpOperation kOperation{"__match_any_sync", complete_match};
  MatchLane mine{value, 0};
  take_part(kOperation, mask, &mine, location);
  return mine.result;
}

}  // namespace plumb::emulation

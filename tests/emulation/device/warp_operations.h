// What the lanes of a warp do together: every lane that the mask names comes to the same operation, and the
// last one to come computes the results of all.
#pragma once

#include <array>
#include <cstdint>
#include <source_location>

#include "fiber.h"
#include "places.h"
#include "thread_scheduler.h"

namespace plumb::emulation {

/// The lanes of one operation when all have come.
struct WarpLanes {
  BlockEngine& engine;
  std::uint32_t mask = 0;
  std::uint32_t present = 0;  ///< that take part; lanes of the mask that have ended do not
  const char* operation = nullptr;
  std::source_location location;
  std::array<Fiber*, kLanes> fibers{};
  std::array<void*, kLanes> arguments{};  ///< null where no lane takes part

  bool has(unsigned lane) const { return (present >> lane & 1U) != 0; }
  template <class Argument>
  Argument& of(unsigned lane) const {
    return *static_cast<Argument*>(arguments[lane]);
  }
};

struct WarpOperation {
  const char* name;
  void (*complete)(WarpLanes& lanes);
  bool orders_memory = false;  ///< among the lanes, as __syncwarp does; shuffles and votes do not
  bool whole_warp = false;     ///< every lane of the warp must take part
};

class WarpOperations {
 public:
  /// After a block that was given up.
  void reset();
  /// Stops the calling lane until all lanes of `mask` that have not ended called it with the same mask at the
  /// same place; then complete() has run, and `argument`, which outlives the call, holds the result. As the
  /// CUDA C++ Programming Guide has it: the caller is in the mask, and "all non-exited threads named in mask
  /// must execute the same intrinsic with the same mask".
  void take_part(Fiber& fiber, const WarpOperation& operation, unsigned mask, void* argument,
                 std::source_location location);
  /// Operations that waited only for this thread go on.
  void thread_ended(Fiber& fiber);

 private:
  struct Group {
    const WarpOperation* operation = nullptr;
    std::source_location location;
    std::uint32_t mask = 0, arrived = 0;
  };
  /// Operations under way in a warp. Two of different masks may be, even if the masks overlap: a lane that
  /// both name comes to one after the other.
  struct Warp {
    std::array<Group, kLanes> groups;
    std::uint32_t used = 0;           ///< one bit per group
    std::array<char, kLanes> tokens;  ///< for the thread sanitizer, by lowest lane of the mask

    /// The group with that mask; a new one if there is none.
    Group& group_of(std::uint32_t mask);
  };
  static bool fits(const Group& group, const WarpOperation& operation, const std::source_location& location) {
    return group.arrived == 0 || (group.operation == &operation && same_place(group.location, location));
  }
  void complete(BlockEngine& engine, unsigned warp, Group& group);
  [[noreturn]] void refuse(Fiber& fiber, const Group& group, const WarpOperation& operation, unsigned mask,
                           std::source_location location);

  std::array<Warp, kMaximumWarps> warps_{};
};

}  // namespace plumb::emulation

#include "warp_operations.h"

#include <bit>

#include "block_engine.h"

namespace plumb::emulation {

void WarpOperations::reset() {
  for (Warp& warp : warps_) {
    for (Group& group : warp.groups) group.arrived = 0;
    warp.used = 0;
  }
}

WarpOperations::Group& WarpOperations::Warp::group_of(std::uint32_t mask) {
  for (std::uint32_t rest = used; rest != 0; rest &= rest - 1) {
    Group& group = groups[static_cast<unsigned>(std::countr_zero(rest))];
    if (group.mask == mask) return group;
  }
  // There is room: some lane waits in every group, and one does not.
  const auto unused = static_cast<unsigned>(std::countr_one(used));
  used |= 1U << unused;
  groups[unused].mask = mask;
  return groups[unused];
}

/// Says what is wrong with the call.
void WarpOperations::refuse(Fiber& fiber, const Group& group, const WarpOperation& operation, unsigned mask,
                            std::source_location location) {
  const std::string here = place(operation.name, location);
  const unsigned lane = fiber.rank % kLanes;
  if ((mask >> lane & 1U) == 0) {
    fiber.engine->fail(fiber, here + ": the calling lane " + std::to_string(lane) + " is not in the mask " +
                                  mask_text(mask));
  }
  const std::uint32_t ended = fiber.engine->scheduler().ended_lanes(fiber.rank / kLanes);
  if (operation.whole_warp && ended != 0) {
    fiber.engine->fail(fiber,
                       here + " needs the whole warp, of which these lanes have ended: " + mask_text(ended));
  }
  fiber.engine->fail(fiber, "divergent warp operation: " + here + " with mask " + mask_text(mask) +
                                " while other lanes wait in " + place(group.operation->name, group.location) +
                                " with mask " + mask_text(group.mask));
}

void WarpOperations::take_part(Fiber& fiber, const WarpOperation& operation, unsigned mask, void* argument,
                               std::source_location location) {
  BlockEngine& engine = *fiber.engine;
  const unsigned warp = fiber.rank / kLanes, lane = fiber.rank % kLanes;
  Group& group = warps_[warp].group_of(mask);
  const std::uint32_t ended = engine.scheduler().ended_lanes(warp);
  if ((mask >> lane & 1U) == 0 || (operation.whole_warp && ended != 0) || !fits(group, operation, location))
    refuse(fiber, group, operation, mask, location);
  if (group.arrived == 0) {
    group.operation = &operation;
    group.location = location;
  }
  group.arrived |= 1U << lane;
  fiber.lane_argument = argument;
  void* token = &warps_[warp].tokens[static_cast<unsigned>(std::countr_zero(mask))];
  if (operation.orders_memory) sanitizer::release(token);
  if (group.arrived == (mask & ~ended)) {
    complete(engine, warp, group);
  } else {
    engine.scheduler().stop(fiber.rank);
    engine.wait(fiber, operation.name, location, mask);
  }
  if (operation.orders_memory) sanitizer::acquire(token);
}

void WarpOperations::complete(BlockEngine& engine, unsigned warp, Group& group) {
  const std::uint32_t arrived = group.arrived;
  WarpLanes lanes{engine, group.mask, arrived, group.operation->name, group.location, {}, {}};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!lanes.has(lane)) continue;
    lanes.fibers[lane] = &engine.fiber(warp * kLanes + lane);
    lanes.arguments[lane] = lanes.fibers[lane]->lane_argument;
  }
  group.operation->complete(lanes);
  group.arrived = 0;
  warps_[warp].used &= ~(1U << (&group - warps_[warp].groups.data()));
  engine.scheduler().wake(warp, arrived);
}

void WarpOperations::thread_ended(Fiber& fiber) {
  const unsigned warp = fiber.rank / kLanes;
  const std::uint32_t ended = fiber.engine->scheduler().ended_lanes(warp);
  for (std::uint32_t rest = warps_[warp].used; rest != 0; rest &= rest - 1) {
    Group& group = warps_[warp].groups[static_cast<unsigned>(std::countr_zero(rest))];
    if (group.arrived != (group.mask & ~ended)) continue;
    if (group.operation->whole_warp) {
      fiber.engine->fail(
          fiber, "ends while its warp waits for it in " + place(group.operation->name, group.location));
    }
    complete(*fiber.engine, warp, group);
  }
}

}  // namespace plumb::emulation

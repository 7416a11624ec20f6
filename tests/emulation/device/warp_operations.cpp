#include "warp_operations.h"

#include <bit>

#include "block_engine.h"

namespace plumb::emulation {

void WarpOperations::reset() {
  under_way_.fill(0);
  for (auto& warp : groups_) {
    for (Group& group : warp) group.arrived = 0;
  }
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
  const unsigned key = static_cast<unsigned>(std::countr_zero(mask)) % kLanes;
  Group& group = groups_[warp][key];
  const std::uint32_t ended = engine.scheduler().ended_lanes(warp);
  if ((mask >> lane & 1U) == 0 || (operation.whole_warp && ended != 0) ||
      !fits(group, operation, mask, location))
    refuse(fiber, group, operation, mask, location);
  if (group.arrived == 0) {
    group.operation = &operation;
    group.location = location;
    group.mask = mask;
    under_way_[warp] |= 1U << key;
  }
  group.arrived |= 1U << lane;
  fiber.lane_argument = argument;
  if (operation.orders_memory) sanitizer::release(&group.token);
  if (group.arrived == (mask & ~ended)) {
    complete(engine, warp, group);
  } else {
    engine.scheduler().stop(fiber.rank);
    engine.wait(fiber, operation.name, location, mask);
  }
  if (operation.orders_memory) sanitizer::acquire(&group.token);
}

void WarpOperations::complete(BlockEngine& engine, unsigned warp, Group& group) {
  const std::uint32_t arrived = group.arrived;
  WarpLanes lanes{engine, arrived, group.operation->name, group.location, {}, {}};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!lanes.has(lane)) continue;
    lanes.fibers[lane] = &engine.fiber(warp * kLanes + lane);
    lanes.arguments[lane] = lanes.fibers[lane]->lane_argument;
  }
  group.operation->complete(lanes);
  group.arrived = 0;
  under_way_[warp] &= ~(1U << (&group - groups_[warp].data()));
  engine.scheduler().wake(warp, arrived);
}

void WarpOperations::thread_ended(Fiber& fiber) {
  const unsigned warp = fiber.rank / kLanes;
  const std::uint32_t ended = fiber.engine->scheduler().ended_lanes(warp);
  for (std::uint32_t rest = under_way_[warp]; rest != 0; rest &= rest - 1) {
    Group& group = groups_[warp][static_cast<unsigned>(std::countr_zero(rest))];
    if (group.arrived != (group.mask & ~ended)) continue;
    if (group.operation->whole_warp) {
      fiber.engine->fail(
          fiber, "ends while its warp waits for it in " + place(group.operation->name, group.location));
    }
    complete(*fiber.engine, warp, group);
  }
}

}  // namespace plumb::emulation

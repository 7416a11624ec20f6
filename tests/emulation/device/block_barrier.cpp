#include "block_barrier.h"

#include "block_engine.h"
#include "places.h"

namespace plumb::emulation {

BlockBarrier::Votes BlockBarrier::wait(Fiber& fiber, bool predicate, const char* operation,
                                       std::source_location location) {
  BlockEngine& engine = *fiber.engine;
  if (waiting_ == 0) {
    operation_ = operation;
    location_ = location;
    votes_ = Votes{};
  } else if (!same_place(location, location_)) {
    engine.fail(fiber, "divergent barrier: it waits in " + place(operation, location) +
                           " while other threads wait in " + place(operation_, location_));
  }
  void* token = &tokens_[turn_ % 2];
  sanitizer::release(token);
  ++votes_.threads;
  votes_.true_predicates += predicate ? 1 : 0;
  if (++waiting_ == engine.scheduler().live()) {
    open(engine);
  } else {
    engine.scheduler().stop(fiber.rank);
    engine.wait(fiber, operation, location, 0);
  }
  sanitizer::acquire(token);
  return result_;
}

void BlockBarrier::thread_ended(BlockEngine& engine) {
  if (waiting_ > 0 && waiting_ == engine.scheduler().live()) open(engine);
}

void BlockBarrier::open(BlockEngine& engine) {
  result_ = votes_;  // read by all before the next barrier can open
  waiting_ = 0;
  ++turn_;
  engine.scheduler().wake_block();
}

}  // namespace plumb::emulation

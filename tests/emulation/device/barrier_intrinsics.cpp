#include "barrier_intrinsics.h"

#include "block_engine.h"

namespace plumb::emulation {
namespace {

BlockBarrier::Votes wait(bool predicate, const char* operation, Location location) {
  Fiber& fiber = Fiber::running();
  return fiber.engine->barrier().wait(fiber, predicate, operation, location);
}

}  // namespace

void sync_threads(Location location) { wait(false, "__syncthreads", location); }

int sync_threads_count(int predicate, Location location) {
  return static_cast<int>(wait(predicate != 0, "__syncthreads_count", location).true_predicates);
}

int sync_threads_and(int predicate, Location location) {
  const auto votes = wait(predicate != 0, "__syncthreads_and", location);
  return votes.true_predicates == votes.threads ? 1 : 0;
}

int sync_threads_or(int predicate, Location location) {
  return wait(predicate != 0, "__syncthreads_or", location).true_predicates != 0 ? 1 : 0;
}

}  // namespace plumb::emulation

// __syncthreads and its relatives: the barrier of a block.
#pragma once

#include <source_location>

#include "fiber.h"

namespace plumb::emulation {

class BlockBarrier {
 public:
  struct Votes {
    unsigned true_predicates = 0, threads = 0;
  };

  /// After a block that was given up.
  void reset() { waiting_ = 0; }
  /// Stops the calling thread until all threads of the block that have not ended wait here; returns their
  /// votes. It is an error if they do not all wait at the same place.
  Votes wait(Fiber& fiber, bool predicate, const char* operation, std::source_location location);
  /// Threads that have ended are not waited for (sm_70 and later).
  void thread_ended(BlockEngine& engine);

 private:
  void open(BlockEngine& engine);

  unsigned waiting_ = 0;
  Votes votes_, result_;
  const char* operation_ = nullptr;
  std::source_location location_;
  unsigned turn_ = 0;
  char tokens_[2] = {};  ///< for the thread sanitizer; two, because a thread may be late to acquire the last
};

}  // namespace plumb::emulation

// Runs the threads of a block as fibers on one operating-system thread. They change over only where one waits
// or ends.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "block_barrier.h"
#include "fiber.h"
#include "grid.h"
#include "shared_memory.h"
#include "thread_scheduler.h"
#include "warp_operations.h"

namespace plumb::emulation {

class BlockEngine {
 public:
  BlockEngine() = default;
  ~BlockEngine();
  BlockEngine(const BlockEngine&) = delete;
  BlockEngine& operator=(const BlockEngine&) = delete;

  /// Both must outlive the blocks that are run.
  void begin_launch(const GridLaunch& launch, const std::function<void()>& thread_body,
                    const Settings& settings, unsigned worker);
  /// False if the block failed: error() says why.
  bool run_block(uint3 index);
  void end_launch();
  const std::string& error() const { return error_; }

  // For the code that runs in fibers.
  ThreadScheduler& scheduler() { return scheduler_; }
  BlockBarrier& barrier() { return barrier_; }
  WarpOperations& warp_operations() { return warp_operations_; }
  SharedMemory& shared_memory() { return shared_memory_; }
  Fiber& fiber(unsigned thread) { return (*fibers_)[thread]; }
  /// Lets others run until the fiber is woken; it has been stopped in the scheduler.
  void wait(Fiber& fiber, const char* operation, std::source_location location, unsigned mask) {
    fiber.waits = {operation, location, mask};
    give_way(fiber);
    fiber.waits.operation = nullptr;
  }
  /// Reports what `fiber` did and gives up the block; called by any running fiber, which it unwinds.
  [[noreturn]] void fail(const Fiber& fiber, const std::string& text);

 private:
  using Fibers = std::vector<Fiber>;
  struct BlockGivenUp {};  ///< thrown to the beginning of the failing fiber
  static void fiber_main();
  void prepare(Fibers& fibers);
  void start(Fiber& fiber);
  void run_threads_of(Fiber& fiber);
  void end_thread(Fiber& fiber);
  void give_way(Fiber& fiber) {
    const int next = scheduler_.next(fiber.rank);
    change(fiber, next == ThreadScheduler::kNobody ? caller_ : this->fiber(static_cast<unsigned>(next)));
  }
  static void change(Fiber& from, Fiber& to) {
    running_thread = &to;
    sanitizer::before_change(from.sanitizer_state, to.sanitizer_state);
    Context::change(from.context, to.context);
    sanitizer::after_change(from.sanitizer_state);
  }
  void abandon_block();
  std::string deadlock() const;
  std::string headline(const Fiber* fiber) const;

  std::vector<Fibers> fiber_sets_ = std::vector<Fibers>(sanitizer::kFiberSets);
  Fibers* fibers_ = nullptr;  ///< of the running block
  Fiber caller_;              ///< the flow of control that called run_block
  BlockView view_;
  ThreadScheduler scheduler_;
  BlockBarrier barrier_;
  WarpOperations warp_operations_;
  SharedMemory shared_memory_;
  const GridLaunch* launch_ = nullptr;
  const std::function<void()>* thread_body_ = nullptr;
  unsigned threads_ = 0;
  bool failed_ = false;
  std::string error_;
  char begin_token_ = 0, end_token_ = 0;  ///< for the thread sanitizer
};

}  // namespace plumb::emulation

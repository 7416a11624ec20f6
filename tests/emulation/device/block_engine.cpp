#include "block_engine.h"

#include <map>

#include "places.h"
#include "shared_limit.h"

namespace plumb::emulation {

constinit thread_local const ThreadView* running_thread = nullptr;

namespace {

std::string triple(const uint3& index) {
  return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

/// Which set of fibers runs a block: the sum of its number's digits to the base of the number of sets, so
/// that neighbours in every dimension of a small grid have different ones.
std::size_t fiber_set_of(const uint3& block, const dim3& grid) {
  if constexpr (sanitizer::kFiberSets == 1) return 0;
  constexpr std::size_t kBase = sanitizer::kFiberSets == 1 ? 2 : sanitizer::kFiberSets;
  std::size_t sum = 0;
  for (std::size_t rest = (std::size_t{block.z} * grid.y + block.y) * grid.x + block.x; rest > 0;
       rest /= kBase)
    sum += rest % kBase;
  return sum % kBase;
}

}  // namespace

BlockEngine::~BlockEngine() {
  for (Fibers& fibers : fiber_sets_) {
    for (Fiber& fiber : fibers) {
      if (fiber.stack.begin() == nullptr) continue;
      sanitizer::forget_frames(fiber.stack.begin(), fiber.stack.bytes());
      sanitizer::destroy(fiber.sanitizer_state);
    }
  }
}

void BlockEngine::begin_launch(const GridLaunch& launch, const std::function<void()>& thread_body,
                               const Settings& settings, unsigned worker) {
  launch_ = &launch;
  thread_body_ = &thread_body;
  threads_ = launch.block.x * launch.block.y * launch.block.z;
  view_.threads = launch.block;
  view_.grid = launch.grid;
  failed_ = false;
  error_.clear();
  scheduler_.set_order(settings.order, settings.seed + worker);
  sanitizer::adopt(caller_.sanitizer_state);
  caller_.engine = this;
}

void BlockEngine::end_launch() { sanitizer::acquire(&end_token_); }

void BlockEngine::prepare(Fibers& fibers) {
  if (fibers.empty()) fibers.resize(kMaximumThreads);
  const dim3& size = view_.threads;
  for (unsigned thread = 0; thread < threads_; ++thread) {
    Fiber& fiber = fibers[thread];
    fiber.index = {thread % size.x, thread / size.x % size.y, thread / size.x / size.y};
    if (!fiber.at_start) start(fiber);
    fiber.waits.operation = nullptr;
  }
}

/// A new fiber, or one whose frames were abandoned.
void BlockEngine::start(Fiber& fiber) {
  const auto thread = static_cast<unsigned>(&fiber - fibers_->data());
  fiber.rank = thread;
  fiber.block = &view_;
  fiber.engine = this;
  if (fiber.stack.begin() == nullptr) fiber.stack = Stack(sanitizer::kStackBytes);
  sanitizer::destroy(fiber.sanitizer_state);
  sanitizer::forget_frames(fiber.stack.begin(), fiber.stack.bytes());
  sanitizer::create(fiber.sanitizer_state, thread);
  sanitizer::stack_of(fiber.sanitizer_state, fiber.stack.begin(), fiber.stack.bytes());
  // Tops at different distances from the pages' ends do not fall into the same sets of the cache.
  const std::size_t offset = thread % 31 * 192;
  fiber.context.prepare(fiber.stack.begin(), fiber.stack.bytes() - offset, fiber_main);
  fiber.copies.forget();
  fiber.at_start = true;
}

bool BlockEngine::run_block(uint3 index) {
  view_.index = index;
  fibers_ = &fiber_sets_[fiber_set_of(index, view_.grid)];
  prepare(*fibers_);
  scheduler_.begin_block(threads_);
  const bool asked = launch_->asked_for_shared || launch_->shared_bytes > kSharedBytesWithoutOptIn;
  shared_memory_.begin_block(launch_->shared_bytes, asked ? shared_bytes_limit() : kSharedBytesWithoutOptIn);
  sanitizer::release(&begin_token_);
  const ThreadView* outer = running_thread;
  change(caller_, fiber(static_cast<unsigned>(scheduler_.first())));
  running_thread = outer;
  if (!failed_ && scheduler_.live() > 0) {
    failed_ = true;
    error_ = headline(nullptr) + deadlock();
  }
  if (!failed_) {
    const std::string damage = shared_memory_.damage();
    failed_ = !damage.empty();
    if (failed_) error_ = headline(nullptr) + damage;
  }
  if (failed_) abandon_block();
  return !failed_;
}

void BlockEngine::abandon_block() {
  barrier_.reset();
  warp_operations_.reset();
  for (unsigned thread = 0; thread < threads_; ++thread) fiber(thread).at_start = false;
}

void BlockEngine::fiber_main() {
  Fiber& fiber = Fiber::running();
  sanitizer::after_change(fiber.sanitizer_state);
  fiber.engine->run_threads_of(fiber);
}

/// A fiber runs one thread after another: that of its rank in block after block, until one fails.
void BlockEngine::run_threads_of(Fiber& fiber) {
  try {
    for (;;) {
      fiber.at_start = false;
      sanitizer::acquire(&begin_token_);
      (*thread_body_)();
      sanitizer::release(&end_token_);
      end_thread(fiber);
    }
  } catch (const BlockGivenUp&) {
  }
  change(fiber, caller_);
}

void BlockEngine::end_thread(Fiber& fiber) {
  if (fiber.copies.under_way())
    fail(fiber, "ends with asynchronous copies under way: no copy_async_wait after their commit");
  fiber.copies.forget();
  fiber.at_start = true;
  scheduler_.end(fiber.rank);
  warp_operations_.thread_ended(fiber);
  barrier_.thread_ended(*this);
  give_way(fiber);
}

void BlockEngine::fail(const Fiber& fiber, const std::string& text) {
  if (!failed_) error_ = headline(&fiber) + text;
  failed_ = true;
  throw BlockGivenUp{};
}

std::string BlockEngine::headline(const Fiber* fiber) const {
  std::string text = std::string(launch_->name) + ": block " + triple(view_.index);
  if (fiber != nullptr) text += ", thread " + triple(fiber->index);
  return text + ": ";
}

/// Which threads wait where.
std::string BlockEngine::deadlock() const {
  struct Waiters {
    unsigned count = 0, first = 0;
  };
  std::map<std::string, Waiters> places;
  for (unsigned thread = threads_; thread-- > 0;) {
    const WaitingPoint& point = (*fibers_)[thread].waits;
    if (point.operation == nullptr) continue;
    std::string text = place(point.operation, point.location);
    if (point.mask != 0) text += " with mask " + mask_text(point.mask);
    Waiters& waiters = places[text];
    ++waiters.count;
    waiters.first = thread;
  }
  std::string text =
      "deadlock: " + std::to_string(scheduler_.live()) + " of " + std::to_string(threads_) + " threads wait";
  const char* separator = ": ";
  for (const auto& [where, waiters] : places) {
    text += separator + std::to_string(waiters.count) + " (the first is thread " +
            triple((*fibers_)[waiters.first].index) + ") in " + where;
    separator = "; ";
  }
  return text;
}

}  // namespace plumb::emulation

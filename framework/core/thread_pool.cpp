#include "core/thread_pool.h"

#include <omp.h>

#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {

thread_local bool in_region = false;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Returns once the value is no longer `old`. All accesses are sequentially consistent: whoever changes the
/// value sees that somebody waits, or that one sees the change.
std::int32_t wait_while(const std::atomic<std::int32_t>& value, std::int32_t old) {
  using Clock = std::chrono::steady_clock;
  constexpr int kLooksPerTime = 32;
  const auto end = Clock::now() + std::chrono::microseconds(ThreadPool::kSpinMicroseconds);
  do {
    for (int look = 0; look < kLooksPerTime; ++look) {
      const std::int32_t now = value.load();
      if (now != old) return now;
      relax();
    }
  } while (Clock::now() < end);
  value.wait(old);
  return value.load();
}

}  // namespace

struct ThreadPool::Worker {
  alignas(64) std::atomic<std::int32_t> calls{0};  ///< regions that it was called to; -1: to end
  std::thread thread;
};

ThreadPool::ThreadPool() = default;

ThreadPool::~ThreadPool() {
  for (const auto& worker : workers_) {
    worker->calls.store(-1);
    worker->calls.notify_one();
  }
  for (const auto& worker : workers_) worker->thread.join();
}

void ThreadPool::make_workers(std::size_t count) {
  workers_.reserve(count);
  while (workers_.size() < count) {
    auto worker = std::make_unique<Worker>();
    const auto thread = static_cast<int>(workers_.size()) + 1;
    try {
      worker->thread = std::thread([this, raw = worker.get(), thread] { work(*raw, thread); });
    } catch (const std::system_error& error) {
      fail("cannot start thread {} of {}: {}; ask for fewer (compute.threads)", thread + 1, count + 1,
           error.what());
    }
    workers_.push_back(std::move(worker));
  }
}

void ThreadPool::call(Body body, void* context, int thread) {
  try {
    body(context, thread);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(failing_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void ThreadPool::work(Worker& worker, int thread) {
  // What a library does inside a region, it does on this thread alone.
  omp_set_num_threads(1);
  in_region = true;
  std::int32_t seen = 0;
  while (true) {
    seen = wait_while(worker.calls, seen);
    if (seen < 0) return;
    call(body_, context_, thread);
    if (unfinished_.fetch_sub(1) == 1) unfinished_.notify_one();
  }
}

void ThreadPool::wait_for_workers() {
  for (std::int32_t left = unfinished_.load(); left != 0;) left = wait_while(unfinished_, left);
}

void ThreadPool::prepare(int threads) {
  const std::lock_guard<std::mutex> busy(busy_);
  if (threads > 1) make_workers(static_cast<std::size_t>(threads) - 1);
}

void ThreadPool::run(int threads, Body body, void* context) {
  std::unique_lock<std::mutex> busy(busy_, std::defer_lock);
  if (threads <= 1 || in_region || !busy.try_lock()) {
    for (int thread = 0; thread < threads; ++thread) body(context, thread);
    return;
  }
  const std::size_t others = static_cast<std::size_t>(threads) - 1;
  make_workers(others);
  body_ = body;
  context_ = context;
  unfinished_.store(static_cast<std::int32_t>(others));
  for (std::size_t i = 0; i < others; ++i) {
    // Wraps to 0 and never means the end: the worker looks only whether it has changed.
    std::atomic<std::int32_t>& calls = workers_[i]->calls;
    const std::int32_t before = calls.load();
    calls.store(before == INT32_MAX ? 0 : before + 1);
    calls.notify_one();
  }
  in_region = true;
  call(body, context, 0);
  in_region = false;
  wait_for_workers();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace plumb

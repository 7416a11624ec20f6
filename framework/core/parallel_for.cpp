#include "core/parallel_for.h"

#include <omp.h>
#include <sched.h>

#include <atomic>

#include "core/thread_pool.h"

namespace plumb {
namespace {

/// At first what the user's environment says (OMP_NUM_THREADS), else all cores.
std::atomic<int>& threads() {
  static std::atomic<int> count{std::max(1, omp_get_max_threads())};
  return count;
}

ThreadPool& pool() {
  static ThreadPool all;
  return all;
}

}  // namespace

int thread_count() {
  const int count = threads().load(std::memory_order_relaxed);
  // Libraries that use OpenMP get one thread, on every thread that comes here: what they do is divided here,
  // so that no second set of threads waits for work beside this one.
  thread_local const bool alone = [] {
    omp_set_num_threads(1);
    return true;
  }();
  static_cast<void>(alone);
  return count;
}

void set_thread_count(int count) {
  count = std::max(1, count);
  thread_count();
  threads().store(count, std::memory_order_relaxed);
  pool().prepare(count);
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

namespace detail {
void run_on_threads(int count, void (*body)(void* context, int thread), void* context) {
  pool().run(count, body, context);
}
}  // namespace detail

}  // namespace plumb

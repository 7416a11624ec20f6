// The only place that knows threads (core/thread_pool.h). Splits are static, so a result depends on the
// number of threads but never on timing.
#pragma once

#include <algorithm>
#include <cstdint>

namespace plumb {

/// Threads that parallel_for and parallel_chunks use; at least 1.
int thread_count();
/// Sets it for the whole process. Libraries that use OpenMP do what they do on one thread: the one that
/// calls.
void set_thread_count(int threads);
/// Cores that this process may run on (its affinity mask, not the machine's).
int available_cores();

namespace detail {
void run_on_threads(int threads, void (*body)(void* context, int thread), void* context);
}

/// Splits [0, n) into min(thread_count(), ceil(n / grain)) near-equal, ascending, not empty chunks (grain >=
/// 1) and calls body(chunk, begin, end) once for each, on as many threads (ThreadPool::run); returns when all
/// are done, and throws what a body has thrown. One chunk runs on the calling thread; n = 0 makes no call.
template <class Body>
void parallel_chunks(std::int64_t n, std::int64_t grain, Body&& body) {
  const auto threads = static_cast<int>(
      std::min<std::int64_t>(thread_count(), (n + grain - 1) / std::max<std::int64_t>(grain, 1)));
  if (threads <= 1) {
    if (n > 0) body(0, std::int64_t{0}, n);
    return;
  }
  struct Context {
    Body& body;
    std::int64_t n;
    int threads;
  } context{body, n, threads};
  detail::run_on_threads(
      threads,
      [](void* raw, int thread) {
        auto& c = *static_cast<Context*>(raw);
        c.body(thread, c.n * thread / c.threads, c.n * (thread + 1) / c.threads);
      },
      &context);
}

/// Calls body(i) for each i in [0, n); at least `grain` of them per thread.
template <class Body>
void parallel_for(std::int64_t n, std::int64_t grain, Body&& body) {
  parallel_chunks(n, grain, [&](int, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace plumb

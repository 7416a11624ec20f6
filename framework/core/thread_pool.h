// The threads behind parallel_for.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

namespace plumb {

/// Threads that stay. A worker that has nothing to do watches for work for kSpinMicroseconds, since in a
/// training step the next region follows at once, and then sleeps: threads that watched for longer would take
/// the cores of everybody else, of the very thread that they wait for too. (OpenMP's do: with one other busy
/// process on two cores, steps on two threads were measured to take 10 to 25 times as long.)
class ThreadPool {
 public:
  using Body = void (*)(void* context, int thread);
  static constexpr int kSpinMicroseconds = 50;

  ThreadPool();
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Has threads ready for run() with as many: run() then allocates nothing.
  void prepare(int threads);
  /// Calls body(context, i) for i in [0, threads), i = 0 on the calling thread and each other one on its own;
  /// returns when all are done. What a body throws is thrown once all are done: the first, if several do.
  /// From within a body, or while another thread is in run(), all of them on the calling thread, in order;
  /// there what a body throws ends it.
  void run(int threads, Body body, void* context);

 private:
  struct Worker;
  void make_workers(std::size_t count);
  void work(Worker& worker, int thread);
  void call(Body body, void* context, int thread);
  void wait_for_workers();

  std::mutex busy_;
  std::vector<std::unique_ptr<Worker>> workers_;  ///< of threads 1, 2, ...
  Body body_ = nullptr;
  void* context_ = nullptr;
  std::atomic<std::int32_t> unfinished_{0};  ///< workers that are still in the region
  std::mutex failing_;
  std::exception_ptr failure_;
};

}  // namespace plumb

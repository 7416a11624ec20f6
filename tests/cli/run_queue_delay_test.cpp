// A process whose threads share one core waits for it, and the accounts say so.
#include "run_queue_delay.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

namespace plumb {
namespace {

/// Another thread that keeps this thread's core busy.
class BusyCore {
 public:
  BusyCore() {
    sched_getaffinity(0, sizeof(before_), &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
    sched_setaffinity(0, sizeof(one), &one);  // inherited by the thread
    thread_ = std::thread([this] {
      while (!stop_) {
      }
    });
  }
  ~BusyCore() {
    stop_ = true;
    thread_.join();
    sched_setaffinity(0, sizeof(before_), &before_);
  }

 private:
  cpu_set_t before_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

/// Busy until `watch` has seen a delay, for at most ten seconds; its sum.
double contend(RunQueueDelay& watch) {
  const auto latest = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  double seen = 0;
  while (seen < 0.05 && std::chrono::steady_clock::now() < latest) seen += watch.take();
  return seen;
}

TEST(RunQueueDelay, CountsWhatAnotherThreadTakes) {
  if (!std::filesystem::exists("/proc/self/schedstat")) GTEST_SKIP() << "needs /proc/self/schedstat";
  RunQueueDelay watch, paused;
  EXPECT_EQ(watch.take(), 0) << "nothing is known before the first look";
  paused.take();
  const BusyCore core;
  paused.pause();
  const double seen = contend(watch);
  EXPECT_GE(seen, 0.05);
  paused.resume();
  EXPECT_LT(paused.take(), seen / 2);
}

}  // namespace
}  // namespace plumb

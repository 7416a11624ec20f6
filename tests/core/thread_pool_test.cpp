#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace plumb {
namespace {

/// Which threads a region's parts ran on.
struct Record {
  std::vector<std::thread::id> threads;
  std::atomic<int> parts{0};
};

void run(ThreadPool& pool, int threads, Record& record) {
  record.threads.assign(static_cast<std::size_t>(threads), {});
  record.parts = 0;
  pool.run(
      threads,
      [](void* raw, int thread) {
        auto& own = *static_cast<Record*>(raw);
        own.threads[static_cast<std::size_t>(thread)] = std::this_thread::get_id();
        own.parts++;
      },
      &record);
}

TEST(ThreadPool, EveryPartHasItsThread) {
  ThreadPool pool;
  Record record;
  for (const int threads : {2, 8, 3, 1, 8}) {
    run(pool, threads, record);
    EXPECT_EQ(record.parts, threads);
    EXPECT_EQ(record.threads[0], std::this_thread::get_id());
    for (std::size_t i = 1; i < record.threads.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) EXPECT_NE(record.threads[i], record.threads[j]);
  }
}

TEST(ThreadPool, WakesThreadsThatHaveGoneToSleep) {
  ThreadPool pool;
  Record record;
  for (int region = 0; region < 20; ++region) {
    run(pool, 4, record);
    EXPECT_EQ(record.parts, 4);
    std::this_thread::sleep_for(std::chrono::microseconds(20 * ThreadPool::kSpinMicroseconds));
  }
}

TEST(ThreadPool, WaitsForThreadsThatTakeLong) {
  ThreadPool pool;
  std::atomic<int> parts{0};
  pool.run(
      3,
      [](void* raw, int thread) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5 * thread));
        static_cast<std::atomic<int>*>(raw)->fetch_add(1);
      },
      &parts);
  EXPECT_EQ(parts, 3);
}

TEST(ThreadPool, SeveralHostThreadsMayCome) {
  ThreadPool pool;
  std::atomic<int> parts{0};
  std::vector<std::thread> hosts;
  for (int host = 0; host < 4; ++host) {
    hosts.emplace_back([&] {
      for (int region = 0; region < 500; ++region)
        pool.run(
            3, [](void* raw, int) { static_cast<std::atomic<int>*>(raw)->fetch_add(1); }, &parts);
    });
  }
  for (std::thread& host : hosts) host.join();
  EXPECT_EQ(parts, 4 * 500 * 3);
}

TEST(ThreadPool, ThrowsWhatABodyThrowsOnceAllAreDone) {
  ThreadPool pool;
  struct Context {
    int throwing;
    std::atomic<int> parts{0};
  };
  for (const int throwing : {0, 3}) {
    Context context{throwing};
    const auto body = [](void* raw, int thread) {
      auto& own = *static_cast<Context*>(raw);
      if (thread == own.throwing) throw std::runtime_error("part " + std::to_string(thread));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      own.parts++;
    };
    try {
      pool.run(4, body, &context);
      FAIL() << "must throw";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), "part " + std::to_string(throwing));
    }
    EXPECT_EQ(context.parts, 3);
    Record record;  // and goes on as before
    run(pool, 4, record);
    EXPECT_NE(record.threads[1], std::this_thread::get_id());
  }
}

TEST(ThreadPool, ARegionWithinARegionRunsOnItsThread) {
  ThreadPool pool;
  struct Context {
    ThreadPool& pool;
    std::atomic<int> elsewhere{0}, parts{0};
  } context{pool};
  pool.run(
      3,
      [](void* raw, int) {
        auto& outer = *static_cast<Context*>(raw);
        struct Inner {
          Context& outer;
          std::thread::id thread;
        } inner{outer, std::this_thread::get_id()};
        outer.pool.run(
            2,
            [](void* own, int) {
              const auto& in = *static_cast<Inner*>(own);
              in.outer.parts++;
              if (std::this_thread::get_id() != in.thread) in.outer.elsewhere++;
            },
            &inner);
      },
      &context);
  EXPECT_EQ(context.parts, 6);
  EXPECT_EQ(context.elsewhere, 0);
}

}  // namespace
}  // namespace plumb

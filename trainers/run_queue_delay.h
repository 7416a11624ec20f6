// How long a process was ready to run and had no core: what a busy machine takes from a rank.
#pragma once

#include <array>
#include <cstdint>

namespace plumb {

/// Of the threads of this process, up to kMostThreads, by the system's own accounts
/// (/proc/self/task/*/schedstat, whose second number are nanoseconds on a run queue). Where there are none it
/// is 0. Nothing is allocated after the first calls of take(), which look for threads that began meanwhile.
class RunQueueDelay {
 public:
  static constexpr int kMostThreads = 16;

  RunQueueDelay() = default;
  ~RunQueueDelay();
  RunQueueDelay(const RunQueueDelay&) = delete;
  RunQueueDelay& operator=(const RunQueueDelay&) = delete;

  /// What is waited for between the two does not count.
  void pause();
  void resume();
  /// Seconds since the last call, of the thread that waited longest.
  double take();

 private:
  struct Thread {
    int id = 0, file = -1;
    std::int64_t mark = 0;     ///< nanoseconds at the last look
    std::int64_t counted = 0;  ///< since the last take()
  };
  void look(bool counts);
  void find_threads();

  std::array<Thread, kMostThreads> threads_{};
  int count_ = 0, scans_ = 0;
};

}  // namespace plumb

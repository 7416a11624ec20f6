#include "run_queue_delay.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace plumb {
namespace {

/// Calls of take() that look for threads: those of libraries begin with the first steps.
constexpr int kScans = 3;

/// -1 where the file cannot be read.
std::int64_t nanoseconds_on_queue(int file) {
  std::array<char, 96> text{};
  const ssize_t got = pread(file, text.data(), text.size() - 1, 0);
  long long running = 0, waiting = 0;
  if (got <= 0 || std::sscanf(text.data(), "%lld %lld", &running, &waiting) != 2) return -1;
  return waiting;
}

}  // namespace

RunQueueDelay::~RunQueueDelay() {
  for (int i = 0; i < count_; ++i) close(threads_[static_cast<std::size_t>(i)].file);
}

void RunQueueDelay::find_threads() {
  struct Close {
    void operator()(DIR* folder) const { closedir(folder); }
  };
  const std::unique_ptr<DIR, Close> folder(opendir("/proc/self/task"));
  if (!folder) return;
  while (const dirent* entry = readdir(folder.get())) {
    const int id = std::atoi(entry->d_name);
    const auto known = threads_.begin() + count_;
    if (id == 0 || std::any_of(threads_.begin(), known, [id](const Thread& t) { return t.id == id; }))
      continue;
    if (count_ == kMostThreads) return;
    std::array<char, 64> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/task/%d/schedstat", id);
    const int file = open(path.data(), O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    threads_[static_cast<std::size_t>(count_++)] = {id, file,
                                                    std::max<std::int64_t>(nanoseconds_on_queue(file), 0), 0};
  }
}

void RunQueueDelay::look(bool counts) {
  for (int i = 0; i < count_; ++i) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    const std::int64_t now = nanoseconds_on_queue(thread.file);
    if (now < 0) continue;  // the thread has ended
    if (counts) thread.counted += now - thread.mark;
    thread.mark = now;
  }
}

void RunQueueDelay::pause() { look(true); }
void RunQueueDelay::resume() { look(false); }

double RunQueueDelay::take() {
  look(true);
  std::int64_t longest = 0;
  for (int i = 0; i < count_; ++i) {
    Thread& thread = threads_[static_cast<std::size_t>(i)];
    longest = std::max(longest, thread.counted);
    thread.counted = 0;
  }
  if (scans_ < kScans) {
    ++scans_;
    find_threads();
  }
  return static_cast<double>(longest) * 1e-9;
}

}  // namespace plumb

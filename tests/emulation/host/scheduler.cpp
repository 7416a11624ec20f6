#include "host/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>
#include <thread>

#include "core/error.h"
#include "host/device_fault.h"
#include "host/device_memory.h"
#include "host/environment.h"
#include "host/errors.h"
#include "host/statistics.h"

namespace plumb::emulation {
namespace {

using Clock = std::chrono::steady_clock;

/// Operations that one cudaStreamQuery may run: bounded, so that the host sees cudaErrorNotReady too.
constexpr int kStepsPerPoll = 64;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Ranks share cores: who waits for another process must let it run.
void pause(double idle_seconds) {
  if (idle_seconds < 1e-3) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

class RunningOperation {
 public:
  explicit RunningOperation(const char* name) { set_running_operation(name); }
  ~RunningOperation() { set_running_operation(nullptr); }
  RunningOperation(const RunningOperation&) = delete;
  RunningOperation& operator=(const RunningOperation&) = delete;
};

/// An operation that throws has found a fault of the program. It becomes the device's, so that every later
/// call shows it and destructors do not meet it again.
Advance advance_guarded(Operation& operation) {
  const RunningOperation running(operation.name());
  try {
    return operation.advance();
  } catch (const std::exception& error) {
    lose_device(cudaErrorLaunchFailure, error.what());
    return Advance::Done;
  }
}

}  // namespace

Scheduler::Scheduler() : stall_limit_(static_cast<double>(number_setting("PLUMB_EMULATION_STALL", 10, 1))) {
  set_schedule(text_setting("PLUMB_EMULATION_STREAMS").value_or("lazy"));
}

void Scheduler::set_schedule(std::string_view schedule) {
  PLUMB_CHECK(idle(), "the schedule changed while operations are queued");
  constexpr std::string_view kRandom = "random:";
  std::uint32_t seed = 0;
  if (schedule == "eager" || schedule == "lazy") {
    schedule_ = schedule == "eager" ? Schedule::Eager : Schedule::Lazy;
    return;
  }
  const char* end = schedule.data() + schedule.size();
  if (!schedule.starts_with(kRandom) ||
      std::from_chars(schedule.data() + kRandom.size(), end, seed).ptr != end ||
      schedule.size() == kRandom.size())
    fail_input("PLUMB_EMULATION_STREAMS={}: it is eager, lazy or random:SEED", schedule);
  schedule_ = Schedule::Random;
  random_.seed(seed);
}

void Scheduler::submit(CUstream_st& stream, const Recipe& recipe) {
  stream.queue.push_back(recipe(&stream));
  statistics().longest_queue = std::max<std::uint64_t>(statistics().longest_queue, stream.queue.size());
  if (stream.queue.size() == 1) {
    const auto by_number = [](const CUstream_st* a, const CUstream_st* b) { return a->number < b->number; };
    busy_.insert(std::upper_bound(busy_.begin(), busy_.end(), &stream, by_number), &stream);
  }
  if (schedule_ == Schedule::Eager) {
    // All streams: what was submitted may be what another one waits for.
    const DeviceAccess access;
    while (advance(nullptr) != Advance::Blocked) {
    }
  } else if (schedule_ == Schedule::Random && random_() % 4 == 0) {
    const DeviceAccess access;
    for (auto steps = 1 + random_() % 3; steps > 0 && advance(nullptr) != Advance::Blocked; --steps) {
    }
  }
}

Advance Scheduler::step(CUstream_st& stream) {
  const Advance result = advance_guarded(*stream.queue.front());
  if (lost_device() != cudaSuccess) {
    drop_all();
    return Advance::Progress;
  }
  if (result != Advance::Done) return result;
  ++statistics().operations;
  stream.queue.pop_front();
  if (stream.queue.empty()) std::erase(busy_, &stream);
  return Advance::Done;
}

/// After a failure nothing more runs, as in a context that is lost.
void Scheduler::drop_all() {
  for (CUstream_st* stream : busy_) stream->queue.clear();
  busy_.clear();
}

Advance Scheduler::advance_any(const CUstream_st* except) {
  std::vector<CUstream_st*> order = busy_;
  if (schedule_ == Schedule::Random) std::shuffle(order.begin(), order.end(), random_);
  for (CUstream_st* stream : order) {
    if (stream == except || stream->queue.empty()) continue;
    const Advance result = step(*stream);
    if (result != Advance::Blocked) return result;
  }
  return Advance::Blocked;
}

/// Runs what `stream` waits for and nothing else, unless it waits for another process: that one may need any
/// of ours.
Advance Scheduler::advance_towards(CUstream_st& stream) {
  std::set<const CUstream_st*> visited;
  for (CUstream_st* at = &stream; at != nullptr && !at->queue.empty() && visited.insert(at).second;) {
    const Advance result = step(*at);
    if (result != Advance::Blocked) return result;
    const Operation& head = *at->queue.front();
    if (head.waits_outside()) return advance_any(at);
    at = head.needs();
  }
  return Advance::Blocked;
}

Advance Scheduler::advance(CUstream_st* wanted) {
  if (schedule_ == Schedule::Random || wanted == nullptr) return advance_any(nullptr);
  return advance_towards(*wanted);
}

bool Scheduler::waits_outside() const {
  return std::any_of(busy_.begin(), busy_.end(),
                     [](const CUstream_st* stream) { return stream->queue.front()->waits_outside(); });
}

void Scheduler::run_until(const std::function<bool()>& done, CUstream_st* wanted) {
  const DeviceAccess access;
  auto moved = Clock::now();
  while (!done()) {
    if (lost_device() != cudaSuccess) return;
    if (advance(wanted) != Advance::Blocked) {
      moved = Clock::now();
      continue;
    }
    const double idle_seconds = seconds_since(moved);
    // Operations that wait for other processes have deadlines of their own.
    if (idle_seconds > stall_limit_ && !waits_outside()) {
      lose_device(cudaErrorLaunchTimeout, stall_report(idle_seconds));
      drop_all();
      return;
    }
    pause(idle_seconds);
  }
}

bool Scheduler::poll(const std::function<bool()>& done, CUstream_st* wanted) {
  const DeviceAccess access;
  int steps = schedule_ == Schedule::Random ? static_cast<int>(1 + random_() % 8) : kStepsPerPoll;
  while (steps-- > 0 && !done() && advance(wanted) != Advance::Blocked) {
  }
  return done();
}

std::size_t Scheduler::choose(std::size_t count) {
  if (schedule_ == Schedule::Random) return random_() % count;
  return schedule_ == Schedule::Eager ? 0 : count - 1;
}

std::string Scheduler::stall_report(double seconds) const {
  std::string text =
      fmt::format("emulated GPU, rank {}: nothing has moved for {:.0f} s", process_rank(), seconds);
  for (const CUstream_st* stream : busy_) {
    const Operation& head = *stream->queue.front();
    text += fmt::format("; stream {} ({} queued): '{}' waits for {}", stream->number, stream->queue.size(),
                        head.name(), head.waits_for());
  }
  return text;
}

Scheduler& scheduler() {
  // Never destroyed: static objects destroy their streams after main.
  static Scheduler& instance = *std::make_unique<Scheduler>().release();
  return instance;
}

}  // namespace plumb::emulation

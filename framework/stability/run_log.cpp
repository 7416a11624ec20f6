#include "stability/run_log.h"

#include <fmt/chrono.h>

#include <condition_variable>
#include <ctime>
#include <fstream>
#include <mutex>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "stability/append_file.h"
#include "stability/record_json.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

std::string now_utc() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

// Room for the strings of usual events, so that queueing one does not allocate.
constexpr std::size_t kEventKind = 32, kEventText = 512;

}  // namespace

void check_log_header(const std::filesystem::path& directory, const RunLogSettings& settings) {
  const std::filesystem::path file = directory / "stability.jsonl";
  std::ifstream in(file, std::ios::binary);
  std::string line;
  // A torn header is cut off with the rest of the log and written again.
  if (!in || !std::getline(in, line) || in.eof()) return;
  if (line + "\n" == stability_header(settings.tensor_names, settings.norm_names, settings.sublayer_names))
    return;
  fail_input(
      "{}: its header names other tensors, norms or sublayers than this model has, so the log cannot be "
      "continued; "
      "resume into another run.dir",
      file.string());
}

/// A bounded queue of slots and the thread that empties it. The slot at `first_` belongs to the thread until
/// it has been written; the others that are not queued belong to the caller.
class RunLog::Writer {
 public:
  Writer(const std::filesystem::path& directory, const RunLogSettings& settings)
      : settings_(settings),
        directory_(directory),
        metrics_(directory / "metrics.jsonl"),
        stability_(directory / "stability.jsonl"),
        ranks_(directory / "ranks.jsonl"),
        events_(directory / "events.jsonl"),
        slots_(kQueue) {
    if (stability_.size() == 0) {
      stability_.append(
          stability_header(settings.tensor_names, settings.norm_names, settings.sublayer_names));
    }
    for (Slot& slot : slots_) {
      slot.record = make_step_record(settings.layout);
      slot.kind.reserve(kEventKind);
      slot.text.reserve(kEventText);
    }
    thread_ = std::thread([this] { run(); });
  }

  ~Writer() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    queued_.notify_one();
    if (thread_.joinable()) thread_.join();
    if (!fault_.empty() && !fault_shown_) log_error("the run log is incomplete: {}", fault_);
  }

  /// fill(slot) runs on the caller's thread.
  template <class Fill>
  void put(Fill&& fill) {
    Slot* slot = nullptr;
    {
      std::unique_lock lock(mutex_);
      throw_fault();
      if (count_ == kQueue) wait_for_room(lock);
      slot = &slots_[(first_ + count_) % kQueue];
    }
    fill(*slot);
    {
      const std::lock_guard lock(mutex_);
      ++count_;
    }
    queued_.notify_one();
  }

  void flush() {
    std::unique_lock lock(mutex_);
    written_.wait(lock, [&] { return count_ == 0; });
    throw_fault();
    for (AppendFile* file : {&metrics_, &stability_, &ranks_, &events_}) file->sync();
    if (settings_.also) settings_.also->sync();
  }

  /// Nothing may be queued.
  void roll_back(std::int64_t step) {
    roll_logs_back(directory_, step);
    if (settings_.also) settings_.also->roll_back(step + 1);
  }

  struct Slot {
    bool is_event = false;
    StepRecord record;
    std::string kind, text;
    std::int64_t step = 0;
    EventSubject subject;
  };

 private:
  void wait_for_room(std::unique_lock<std::mutex>& lock) {
    if (!waited_) {
      waited_ = true;
      log_line(LogLevel::Warning, "the run log's disk is slower than training, which now waits for it");
    }
    written_.wait(lock, [&] { return count_ < kQueue; });
    throw_fault();
  }

  void throw_fault() {
    if (fault_.empty()) return;
    fault_shown_ = true;
    fail("{}", fault_);
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      queued_.wait(lock, [&] { return count_ > 0 || closing_; });
      if (count_ == 0) return;
      const Slot& slot = slots_[first_];
      const bool broken = !fault_.empty();
      lock.unlock();
      std::string fault;
      if (!broken) fault = write(slot);
      lock.lock();
      if (!fault.empty()) fault_ = fault;
      first_ = (first_ + 1) % kQueue;
      --count_;
      written_.notify_all();
    }
  }

  /// Returns what went wrong, or nothing.
  std::string write(const Slot& slot) {
    try {
      if (slot.is_event) {
        events_.append(event_line(slot.kind, slot.step, slot.text, now_utc(), slot.subject));
        return {};
      }
      metrics_.append(record_line(slot.record, log_file::kMetrics));
      if (slot.record.sampled) stability_.append(record_line(slot.record, log_file::kStability));
      if (settings_.ranks_every > 0 && slot.record.step % settings_.ranks_every == 0) {
        ranks_.append(record_line(slot.record, log_file::kRanks));
      }
      if (settings_.also) settings_.also->append(slot.record);
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  }

  RunLogSettings settings_;
  std::filesystem::path directory_;
  AppendFile metrics_, stability_, ranks_, events_;
  std::vector<Slot> slots_;
  std::mutex mutex_;
  std::condition_variable queued_, written_;
  std::size_t first_ = 0, count_ = 0;
  bool closing_ = false, waited_ = false, fault_shown_ = false;
  std::string fault_;
  std::thread thread_;
};

RunLog::RunLog(const std::filesystem::path& directory, const RunLogSettings& settings)
    : writer_(std::make_unique<Writer>(directory, settings)) {
  const StatisticsShape& shape = settings.layout->shape();
  PLUMB_CHECK(
      static_cast<std::int64_t>(settings.tensor_names.size()) == shape.tensors &&
          static_cast<std::int64_t>(settings.norm_names.size()) == shape.norms &&
          static_cast<std::int64_t>(settings.sublayer_names.size()) == shape.sublayers,
      "{} tensor names for {} tensors, {} norm names for {} norms, {} sublayer names for {} sublayers",
      settings.tensor_names.size(), shape.tensors, settings.norm_names.size(), shape.norms,
      settings.sublayer_names.size(), shape.sublayers);
}

RunLog::~RunLog() = default;

void RunLog::append(const StepRecord& record) {
  PLUMB_CHECK(writer_ != nullptr, "the run log is closed");
  writer_->put([&](Writer::Slot& slot) {
    slot.is_event = false;
    slot.record = record;
  });
}

void RunLog::event(std::string_view kind, std::int64_t step, std::string_view text,
                   const EventSubject& subject) {
  PLUMB_CHECK(writer_ != nullptr, "the run log is closed");
  writer_->put([&](Writer::Slot& slot) {
    slot.is_event = true;
    slot.step = step;
    slot.kind.assign(kind);
    slot.text.assign(text);
    slot.subject = subject;
  });
}

void RunLog::flush() {
  PLUMB_CHECK(writer_ != nullptr, "the run log is closed");
  writer_->flush();
}

void RunLog::roll_back(std::int64_t step) {
  flush();
  writer_->roll_back(step);
}

void RunLog::close() {
  flush();
  writer_.reset();
}

}  // namespace plumb

// RunLog: the log of a run directory, written by a thread of its own; only rank 0 has one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "stability/event_subject.h"
#include "stability/record_sink.h"
#include "stability/run_directory.h"
#include "stability/step_record.h"

namespace plumb {

struct RunLogSettings {
  std::shared_ptr<const RecordLayout> layout;  ///< of the records to come
  std::vector<std::string> tensor_names;       ///< (P) in the order of ParameterStore::trainable()
  std::vector<std::string> norm_names;         ///< (N)
  std::vector<std::string> sublayer_names;     ///< (K)
  std::int64_t ranks_every = 10;               ///< ranks.jsonl has the steps that this divides; 0 = none
  std::shared_ptr<RecordSink> also{};          ///< gets every record too, on the log's thread; null = nobody
};

/// InputError when stability.jsonl of `directory` is there and its header names other tensors, norms
/// or sublayers than the settings: its records would be lists of something else. To be called before a log
/// that is to be continued is touched.
void check_log_header(const std::filesystem::path& directory, const RunLogSettings& settings);

/// Appends records to metrics.jsonl (every one), stability.jsonl (sampled ones), ranks.jsonl and
/// events.jsonl. Every line is written whole by one system call. statistics_table.h defines every field. A
/// value that is not finite is null, and the line's `nonfinite` list names its path and kind.
///
/// One thread uses a RunLog. When the writer meets a fault (full disk), the next call throws it as an Error.
class RunLog {
 public:
  /// Records that can wait for the disk before training does.
  static constexpr int kQueue = 16;

  /// The directory must have been opened by open_run_directory.
  RunLog(const std::filesystem::path& directory, const RunLogSettings& settings);
  /// Writes what is left; a fault is then only logged, so call close() where it matters.
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  /// Queues a copy; no allocation. Waits only when the queue is full, which it reports once.
  void append(const StepRecord& record);
  /// kind: "resume", "checkpoint", "skip", "spike", "nonfinite", "stop", ...; text: one line for a person.
  void event(std::string_view kind, std::int64_t step, std::string_view text,
             const EventSubject& subject = {});
  /// Returns when everything queued is in the files and on the disk. Before a checkpoint, so that the log
  /// never ends before the newest checkpoint does.
  void flush();
  /// flush(), then takes what lies beyond `step` out of the files (roll_logs_back).
  void roll_back(std::int64_t step);
  /// flush(), then ends the thread. No call afterwards.
  void close();

 private:
  class Writer;
  std::unique_ptr<Writer> writer_;
};

}  // namespace plumb

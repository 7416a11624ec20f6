// RunTrace: the trace of some steps of a run, over all ranks; docs/trace.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "backend/observed_backend.h"
#include "session.h"
#include "trace/clock_offset.h"
#include "trace/trace_recorder.h"

namespace plumb {

/// Steps to trace, both ends included.
struct TraceSteps {
  std::int64_t first = 0, last = 0;
};

/// "7", "3-5"; "auto" is nothing: the third to the fifth step of this process. InputError otherwise.
std::optional<TraceSteps> trace_steps(const std::string& text);

class RunTrace {
 public:
  /// Takes the recorder's memory. Session and backend must outlive it, and it the run.
  RunTrace(Session& session, Backend& backend, std::optional<TraceSteps> steps);
  ~RunTrace();
  RunTrace(const RunTrace&) = delete;
  RunTrace& operator=(const RunTrace&) = delete;

  /// The run's backend, seen through.
  Backend& backend() { return observed_; }
  TraceRecorder& recorder() { return recorder_; }
  /// Before a step is issued, outside of every span. A collective.
  void before_step(std::int64_t step);
  /// After the last step: writes this rank's part, and on rank 0 the whole where all parts can be seen. A
  /// collective; a file that cannot be written is a warning.
  void finish(const std::filesystem::path& run);

 private:
  enum class State { Waiting, Recording, Done };

  void stop();
  bool write_part(const std::filesystem::path& run) const;
  void merge(const std::filesystem::path& run, double clock_error, double left_out) const;

  Session& session_;
  Backend& inner_;
  TraceRecorder recorder_;
  ObservedBackend observed_;
  std::optional<TraceSteps> steps_;
  State state_ = State::Waiting;
  std::int64_t last_step_ = 0;  ///< that was recorded
  ClockOffset begin_, end_;
};

}  // namespace plumb

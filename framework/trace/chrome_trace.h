// A rank's part of a trace as a file of Chrome's trace events, which Perfetto and chrome://tracing open.
#pragma once

#include <filesystem>
#include <string>

#include "trace/clock_offset.h"
#include "trace/trace_recorder.h"

namespace plumb {

/// What a part says of itself.
struct TracePart {
  int rank = 0, world = 1;
  std::string host, backend;
  bool runs_behind = false;  ///< Backend::is_asynchronous(): an op's span is that of its call
  ClockOffset begin, end;    ///< at the first and after the last traced step
};

/// `RUN/trace/rank_00003.json`.
std::filesystem::path trace_part_path(const std::filesystem::path& run, int rank);

/// Writes the spans that the recorder holds. Times are microseconds since the trace's beginning on rank 0, by
/// the clock of rank 0: between the two measurements of the offset it is taken to change evenly. The first
/// line is the head, the last one the end, and every line between them one event (merge_traces.h joins
/// parts line by line). Format: "Trace Event Format", Chrome's developers; an object with the array
/// traceEvents. Makes the folder. InputError where that cannot be written.
void write_trace_part(const std::filesystem::path& run, const TracePart& part, const TraceRecorder& recorder);

}  // namespace plumb

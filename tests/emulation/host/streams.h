// Streams of the emulated GPU and the schedule by which they run.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "host/operation.h"

namespace plumb::emulation {
class Capture;
}

/// Lives as long as the process, so that a handle which is used after cudaStreamDestroy is recognised.
struct CUstream_st {
  int number = 0;  ///< 0: the default stream
  int device = 0;
  bool destroyed = false;  ///< what is queued still runs
  std::deque<std::unique_ptr<plumb::emulation::Operation>> queue;
  std::shared_ptr<plumb::emulation::Capture> capture;  ///< null: not capturing
  std::vector<std::size_t> frontier;                   ///< nodes of the capture that the next one comes after
};

namespace plumb::emulation {

/// Null, and the error already noted, when there is no such stream (any more).
CUstream_st* find_stream(const char* function, cudaStream_t stream);

/// Puts an operation on a stream, or into the graph that the stream captures.
cudaError_t submit(const char* function, cudaStream_t stream, const Recipe& recipe);
/// The same, past any capture.
void submit_uncaptured(CUstream_st& stream, const Recipe& recipe);

/// Runs operations until `done` or until the device is lost. It is (cudaErrorLaunchTimeout, with a report of
/// what waits for what) when nothing has moved for PLUMB_EMULATION_STALL seconds (10) and no other process is
/// waited for. `wanted`: the stream that the caller waits for; null: all.
void run_until(const std::function<bool()>& done, cudaStream_t wanted);
/// Runs some operations that can run without waiting; gives done().
bool poll(const std::function<bool()>& done, cudaStream_t wanted);
void run_all();
/// Drops what is queued without running it (tests).
void discard_all();

/// "eager" runs each operation as soon as it can, "lazy" only when the host waits for it, "random:SEED" mixes
/// all streams. PLUMB_EMULATION_STREAMS says which; lazy without it. Nothing may be queued.
void set_schedule(std::string_view schedule);

/// Replaces PLUMB_EMULATION_STALL (tests).
void set_stall_limit(double seconds);

/// Of several operations that could run next, which one: an index below `count`.
std::size_t choose(std::size_t count);

}  // namespace plumb::emulation

// Events of the emulated CUDA runtime.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <chrono>
#include <deque>
#include <map>
#include <memory>

#include "core/error.h"
#include "host/api_call.h"
#include "host/capture.h"
#include "host/errors.h"
#include "host/streams.h"

/// Lives as long as the process, so that a handle which is used after cudaEventDestroy is recognised.
struct CUevent_st {
  int number = 0;
  bool destroyed = false;
  bool timed = false;
  std::uint64_t recorded = 0;  ///< versions: how often it was recorded
  std::uint64_t fired = 0;     ///< the highest version whose record has run
  std::chrono::steady_clock::time_point time;
  cudaStream_t stream = nullptr;                       ///< of the last record
  std::shared_ptr<plumb::emulation::Capture> capture;  ///< when the last record was captured
  std::vector<std::size_t> frontier;
};

namespace plumb::emulation {
namespace {

std::deque<CUevent_st>& events() {
  static std::deque<CUevent_st>& all = *std::make_unique<std::deque<CUevent_st>>().release();
  return all;
}

CUevent_st* find_event(const char* function, cudaEvent_t event) {
  for (auto candidate = events().rbegin(); candidate != events().rend(); ++candidate) {
    if (&*candidate == event && !candidate->destroyed) return &*candidate;
  }
  refuse(cudaErrorInvalidResourceHandle, fmt::format("{}: no such event (any more)", function));
  return nullptr;
}

/// Waits for the record that was the last one when the wait was put on its stream.
class EventWait final : public Operation {
 public:
  explicit EventWait(const CUevent_st& event)
      : event_(event), version_(event.recorded), stream_(event.stream) {}
  Advance advance() override { return event_.fired >= version_ ? Advance::Done : Advance::Blocked; }
  const char* name() const override { return "event wait"; }
  std::string waits_for() const override {
    return fmt::format("event {}, recorded on stream {}", event_.number, stream_->number);
  }
  cudaStream_t needs() const override { return stream_; }

 private:
  const CUevent_st& event_;
  std::uint64_t version_;
  CUstream_st* stream_;
};

cudaError_t create_event(const char* function, cudaEvent_t* event, unsigned flags) {
  if (const cudaError_t code = enter(function, WhileCapturing::Allowed)) return code;
  if (event == nullptr) return refuse(cudaErrorInvalidValue, function);
  if ((flags & ~static_cast<unsigned>(cudaEventDisableTiming | cudaEventBlockingSync)) != 0)
    fail("{}: flags {:#x} are not modelled by the emulation", function, flags);
  CUevent_st& made = events().emplace_back();
  made.number = static_cast<int>(events().size());
  made.timed = (flags & cudaEventDisableTiming) == 0;
  *event = &made;
  return cudaSuccess;
}

/// The rules of a wait when the stream or the event is part of a capture.
cudaError_t wait_in_capture(const char* function, CUstream_st& stream, const CUevent_st& event) {
  if (event.capture && !event.capture->active()) return refuse(cudaErrorCapturedEvent, function);
  if (!event.capture) {
    if (event.recorded == 0) return cudaSuccess;
    stream.capture->invalidate();
    return refuse(cudaErrorStreamCaptureIsolation,
                  fmt::format("{}: stream {} captures, event {} was recorded outside", function,
                              stream.number, event.number));
  }
  if (event.capture->invalidated()) return refuse(cudaErrorStreamCaptureInvalidated, function);
  if (stream.capture && stream.capture != event.capture) {
    stream.capture->invalidate();
    event.capture->invalidate();
    return refuse(cudaErrorStreamCaptureMerge, function);
  }
  event.capture->join(event.capture, stream, event.frontier);
  return cudaSuccess;
}

cudaError_t record_event(const char* function, CUevent_st& event, cudaStream_t stream) {
  CUstream_st* on = find_stream(function, stream);
  if (on == nullptr) return cudaErrorInvalidResourceHandle;
  if (on->capture) {
    if (on->capture->invalidated()) return refuse(cudaErrorStreamCaptureInvalidated, function);
    event.capture = on->capture;
    event.frontier = on->frontier;
    return cudaSuccess;
  }
  event.capture.reset();
  event.stream = on;
  const std::uint64_t version = ++event.recorded;
  return submit(function, stream, immediate("event record", [&event, version] {
                  event.fired = std::max(event.fired, version);
                  event.time = std::chrono::steady_clock::now();
                }));
}

}  // namespace
}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaEventCreate(cudaEvent_t* event) { return create_event("cudaEventCreate", event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return create_event("cudaEventCreateWithFlags", event, flags);
}

// What waits for it goes on to do so.
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (const cudaError_t code = enter("cudaEventDestroy", WhileCapturing::Allowed)) return code;
  CUevent_st* found = find_event("cudaEventDestroy", event);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  found->destroyed = true;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (const cudaError_t code = enter("cudaEventRecord", WhileCapturing::Allowed)) return code;
  CUevent_st* found = find_event("cudaEventRecord", event);
  return found == nullptr ? cudaErrorInvalidResourceHandle : record_event("cudaEventRecord", *found, stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  constexpr const char* kFunction = "cudaStreamWaitEvent";
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Allowed)) return code;
  CUstream_st* on = find_stream(kFunction, stream);
  const CUevent_st* found = find_event(kFunction, event);
  if (on == nullptr || found == nullptr) return cudaErrorInvalidResourceHandle;
  if (flags != 0) plumb::fail("cudaStreamWaitEvent: flags {:#x} are not modelled by the emulation", flags);
  if (on->capture || found->capture) return wait_in_capture(kFunction, *on, *found);
  if (found->recorded == 0) return cudaSuccess;  // never recorded: nothing to wait for
  return submit(kFunction, stream, [found](cudaStream_t) { return std::make_unique<EventWait>(*found); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t code = enter("cudaEventQuery", WhileCapturing::Forbidden)) return code;
  const CUevent_st* found = find_event("cudaEventQuery", event);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  if (found->capture) return refuse(cudaErrorCapturedEvent, "cudaEventQuery");
  const std::uint64_t version = found->recorded;
  const bool done = poll([&] { return found->fired >= version; }, found->stream);
  if (lost_device() != cudaSuccess) return lost_device();
  return done ? cudaSuccess : refuse(cudaErrorNotReady);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t code = enter("cudaEventSynchronize", WhileCapturing::Forbidden)) return code;
  const CUevent_st* found = find_event("cudaEventSynchronize", event);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  if (found->capture) return refuse(cudaErrorCapturedEvent, "cudaEventSynchronize");
  const std::uint64_t version = found->recorded;
  run_until([&] { return found->fired >= version; }, found->stream);
  return lost_device();
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  constexpr const char* kFunction = "cudaEventElapsedTime";
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Forbidden)) return code;
  const CUevent_st* first = find_event(kFunction, start);
  const CUevent_st* second = find_event(kFunction, end);
  if (first == nullptr || second == nullptr) return cudaErrorInvalidResourceHandle;
  if (milliseconds == nullptr) return refuse(cudaErrorInvalidValue, kFunction);
  if (!first->timed || !second->timed || first->recorded == 0 || second->recorded == 0)
    return refuse(cudaErrorInvalidResourceHandle, "cudaEventElapsedTime: without timing, or never recorded");
  if (first->fired < first->recorded || second->fired < second->recorded) return refuse(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(second->time - first->time).count();
  return cudaSuccess;
}

}  // extern "C"

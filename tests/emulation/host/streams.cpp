#include "host/streams.h"

#include <fmt/format.h>

#include "core/error.h"
#include "host/api_call.h"
#include "host/capture.h"
#include "host/device_memory.h"
#include "host/device_properties.h"
#include "host/errors.h"
#include "host/scheduler.h"

namespace plumb::emulation {
namespace {

class Immediate final : public Operation {
 public:
  Immediate(const char* name, const std::function<void()>& run) : name_(name), run_(run) {}
  Advance advance() override {
    run_();
    return Advance::Done;
  }
  const char* name() const override { return name_; }

 private:
  const char* name_;
  std::function<void()> run_;
};

/// All streams ever made; a handle is the address of one.
std::deque<CUstream_st>& streams() {
  static std::deque<CUstream_st>& all = *std::make_unique<std::deque<CUstream_st>>(1).release();
  return all;
}

cudaError_t create_stream(const char* function, cudaStream_t* stream, unsigned flags) {
  if (const cudaError_t code = enter(function, WhileCapturing::Allowed)) return code;
  if (stream == nullptr) return refuse(cudaErrorInvalidValue, function);
  if (flags != cudaStreamNonBlocking)
    fail("{}: only cudaStreamNonBlocking is modelled: other streams wait for the default stream", function);
  CUstream_st& made = streams().emplace_back();
  made.number = static_cast<int>(streams().size()) - 1;
  made.device = current_device();
  *stream = &made;
  return cudaSuccess;
}

}  // namespace

Recipe immediate(const char* name, std::function<void()> run) {
  return [name, run = std::move(run)](cudaStream_t) { return std::make_unique<Immediate>(name, run); };
}

CUstream_st* find_stream(const char* function, cudaStream_t stream) {
  if (stream == nullptr) return &streams().front();
  if (stream == cudaStreamLegacy || stream == cudaStreamPerThread)
    fail("{}: cudaStreamLegacy and cudaStreamPerThread are not modelled by the emulation", function);
  // Looked for from the end: programs make many short-lived streams.
  for (auto candidate = streams().rbegin(); candidate != streams().rend(); ++candidate) {
    if (&*candidate != stream) continue;
    if (!candidate->destroyed) return &*candidate;
    refuse(cudaErrorInvalidResourceHandle,
           fmt::format("{}: stream {} has been destroyed", function, candidate->number));
    return nullptr;
  }
  refuse(cudaErrorInvalidResourceHandle, fmt::format("{}: no such stream", function));
  return nullptr;
}

cudaError_t submit(const char* function, cudaStream_t stream, const Recipe& recipe) {
  CUstream_st* found = find_stream(function, stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream != nullptr && found->device != current_device())
    return refuse(cudaErrorInvalidResourceHandle,
                  fmt::format("{}: stream {} belongs to device {}, the current one is {}", function,
                              found->number, found->device, current_device()));
  if (found->capture) return record(function, *found, recipe);
  if (stream == nullptr && capturing())
    return refuse(cudaErrorStreamCaptureImplicit, fmt::format("{}: on the default stream", function));
  submit_uncaptured(*found, recipe);
  return cudaSuccess;
}

void submit_uncaptured(CUstream_st& stream, const Recipe& recipe) { scheduler().submit(stream, recipe); }

void run_until(const std::function<bool()>& done, cudaStream_t wanted) {
  scheduler().run_until(done, wanted);
}
bool poll(const std::function<bool()>& done, cudaStream_t wanted) { return scheduler().poll(done, wanted); }
void run_all() {
  scheduler().run_until([] { return scheduler().idle(); }, nullptr);
}
void discard_all() { scheduler().drop_all(); }
void set_schedule(std::string_view schedule) { scheduler().set_schedule(schedule); }
void set_stall_limit(double seconds) { scheduler().set_stall_limit(seconds); }
std::size_t choose(std::size_t count) { return scheduler().choose(count); }

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return create_stream("cudaStreamCreateWithFlags", stream, flags);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  int least = 0, greatest = 0;
  cudaDeviceGetStreamPriorityRange(&least, &greatest);
  if (priority > least || priority < greatest)
    return refuse(cudaErrorInvalidValue, fmt::format("cudaStreamCreateWithPriority: priority {}", priority));
  return create_stream("cudaStreamCreateWithPriority", stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (const cudaError_t code = enter("cudaStreamDestroy", WhileCapturing::Allowed)) return code;
  CUstream_st* found = find_stream("cudaStreamDestroy", stream);
  if (found == nullptr || stream == nullptr)
    return refuse(cudaErrorInvalidResourceHandle, "cudaStreamDestroy");
  if (found->capture) return refuse(cudaErrorStreamCaptureUnsupported, "cudaStreamDestroy");
  found->destroyed = true;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t code = enter("cudaStreamSynchronize", WhileCapturing::Forbidden)) return code;
  CUstream_st* found = find_stream("cudaStreamSynchronize", stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  run_until([&] { return found->queue.empty(); }, found);
  return lost_device();
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t code = enter("cudaStreamQuery", WhileCapturing::Forbidden)) return code;
  CUstream_st* found = find_stream("cudaStreamQuery", stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  const bool done = poll([&] { return found->queue.empty(); }, found);
  if (lost_device() != cudaSuccess) return lost_device();
  return done ? cudaSuccess : refuse(cudaErrorNotReady);
}

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t code = enter("cudaDeviceSynchronize", WhileCapturing::Forbidden)) return code;
  run_all();
  const DeviceAccess access;
  const std::string overrun = device_memory().any_overrun();
  if (!overrun.empty()) lose_device(cudaErrorIllegalAddress, "found by cudaDeviceSynchronize: " + overrun);
  return lost_device();
}

}  // extern "C"

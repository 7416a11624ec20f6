#include "backends/cuda/stream.h"

#include <chrono>
#include <thread>

#include "backends/cuda/check.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

/// Waits until `query` says success. Without a watch the driver's own wait would do; with one the host has to
/// look now and then whether what it waits for can still come.
template <class Query>
void wait_for(const WaitWatch& watch, Query query, const char* expression) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (;;) {
    const cudaError_t code = query();
    if (code == cudaSuccess) return;
    if (code != cudaErrorNotReady) check_cuda(code, expression, __FILE__, __LINE__);
    static_cast<void>(cudaGetLastError());  // "not ready" is noted like an error, and is none
    const std::chrono::duration<double> waited = Clock::now() - start;
    if (watch) watch(waited.count());
    // Short waits are spun through: a sleep costs about 60 microseconds.
    if (waited > std::chrono::milliseconds(1)) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
}

}  // namespace

CudaStream::CudaStream(const WaitWatch& watch) : watch_(watch) {
  PLUMB_CUDA(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking));
}
CudaStream::~CudaStream() { static_cast<void>(cudaStreamDestroy(handle_)); }

void CudaStream::synchronize() {
  if (!watch_) {
    PLUMB_CUDA(cudaStreamSynchronize(handle_));
    return;
  }
  wait_for(
      watch_, [&] { return cudaStreamQuery(handle_); }, "cudaStreamQuery");
}

CudaEvent::CudaEvent(const WaitWatch& watch, EventTiming timing) : watch_(watch) {
  PLUMB_CUDA(cudaEventCreateWithFlags(&handle_,
                                      timing == EventTiming::On ? cudaEventDefault : cudaEventDisableTiming));
}
CudaEvent::~CudaEvent() { static_cast<void>(cudaEventDestroy(handle_)); }

void CudaEvent::record(Stream& stream) { PLUMB_CUDA(cudaEventRecord(handle_, handle_of(stream))); }
void CudaEvent::wait(Stream& stream) { PLUMB_CUDA(cudaStreamWaitEvent(handle_of(stream), handle_, 0)); }

void CudaEvent::synchronize() {
  if (!watch_) {
    PLUMB_CUDA(cudaEventSynchronize(handle_));
    return;
  }
  wait_for(
      watch_, [&] { return cudaEventQuery(handle_); }, "cudaEventQuery");
}

cudaStream_t handle_of(Stream& stream) {
  auto* cuda_stream = dynamic_cast<CudaStream*>(&stream);
  PLUMB_CHECK(cuda_stream != nullptr, "a stream of another backend was given to the CUDA backend");
  return cuda_stream->handle();
}

}  // namespace plumb::cuda

// CUDA streams and events behind the Backend door.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "backend/stream.h"

namespace plumb::cuda {

/// Called again and again while the host waits for a stream, with the seconds that it has waited; throws to
/// give up (a collective that is late, a communicator with an error).
using WaitWatch = std::function<void(double seconds)>;

/// Owns a non-blocking stream. `watch` must outlive it.
class CudaStream final : public Stream {
 public:
  explicit CudaStream(const WaitWatch& watch);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void synchronize() override;
  cudaStream_t handle() const { return handle_; }

 private:
  const WaitWatch& watch_;
  cudaStream_t handle_ = nullptr;
};

/// Whether the time between two events can be asked for, which makes recording them dearer.
enum class EventTiming { Off, On };

/// Owns an event. One that was never recorded is passed at once, as in CUDA.
class CudaEvent final : public Event {
 public:
  explicit CudaEvent(const WaitWatch& watch, EventTiming timing = EventTiming::Off);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void record(Stream& stream) override;
  void wait(Stream& stream) override;
  void synchronize() override;
  cudaEvent_t handle() const { return handle_; }

 private:
  const WaitWatch& watch_;
  cudaEvent_t handle_ = nullptr;
};

/// The handle of a stream that this backend made; any other stream is an Error.
cudaStream_t handle_of(Stream& stream);

}  // namespace plumb::cuda

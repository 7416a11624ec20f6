// Backend: the one door to hardware. Nothing above framework/backends/ names a piece of hardware.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/buffer.h"
#include "backend/ops/activation.h"
#include "backend/ops/attention.h"
#include "backend/ops/elementwise.h"
#include "backend/ops/embedding.h"
#include "backend/ops/head_loss.h"
#include "backend/ops/linear.h"
#include "backend/ops/moments.h"
#include "backend/ops/norm.h"
#include "backend/ops/observations.h"
#include "backend/ops/optimizer.h"
#include "backend/ops/parameter.h"
#include "backend/ops/random.h"
#include "backend/ops/residual.h"
#include "backend/ops/stream_mix.h"
#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

class Communicator;

/// What `plumb doctor` and the manifest say of a device.
struct DeviceFacts {
  std::string name;                   ///< "AMD EPYC, 2 cores"
  std::vector<std::string> features;  ///< "avx512f", "amx_bf16", library versions, ...
  std::string identity{};  ///< of a device that only one rank may use: the same wherever it is seen from
};

/// What a part of the program takes of the device's memory.
struct MemoryShare {
  std::string name;
  std::size_t bytes = 0;
};

/// Device memory that a backend has handed out and that still lives.
struct MemoryUse {
  std::size_t bytes = 0;        ///< as asked for
  std::size_t peak = 0;         ///< largest that bytes has been
  std::size_t allocations = 0;  ///< calls of allocate so far
};

/// Contract of every op: asynchronous on its stream, no hidden synchronisation, no allocation (scratch comes
/// in as a Workspace), accumulation in at least fp32 in a fixed order, arguments checked. Tensors that an op
/// reads or writes must stay alive until the stream has passed it. One host thread uses a backend. Compute
/// dtype: activations and matrix weights. Master dtype: parameters, gradients, optimiser state, row
/// statistics; it is fp64 when the compute dtype is fp64, else fp32.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;  ///< "reference", "cpu", ...
  virtual DeviceFacts facts() const = 0;
  /// Compute dtypes that it runs, its own first choice first.
  virtual std::vector<DType> compute_dtypes() const = 0;

  virtual std::unique_ptr<Stream> create_stream() = 0;
  virtual std::unique_ptr<Event> create_event() = 0;
  /// Zero-filled device memory.
  virtual Buffer allocate(std::size_t bytes) = 0;
  /// Whether its fp32 products may be made by way of tf32 (BackendOptions::tf32).
  virtual bool has_tf32() const { return false; }
  /// What allocate has given.
  MemoryUse memory_use() const { return *memory_use_; }
  /// Bytes of the device's memory that anybody uses: this process with what its libraries took besides
  /// allocate, and other processes. 0 where the device's memory is the host's.
  virtual std::size_t device_bytes_in_use() const { return 0; }
  /// Host memory that copies to and from the device go to directly (page-locked), zero-filled.
  virtual Buffer allocate_host(std::size_t bytes);
  /// Whether the host may run ahead of the device: ops return before they are done.
  virtual bool is_asynchronous() const { return false; }
  /// Records what `body` issues to `stream`, and to streams that events join to it, without running it. The
  /// body must not wait, allocate or copy from memory that is not the device's or allocate_host's. Error
  /// where the backend cannot.
  virtual std::unique_ptr<Recording> record(Stream& stream, const std::function<void()>& body);
  /// Whether backward had better make again, to the bit, what one pass over kept tensors makes, than find it
  /// kept (docs/design/step.md says what that costs).
  virtual bool prefers_remaking() const { return true; }
  /// Names what the host issues from here on, for profilers (NVTX). Ranges nest; see PhaseRange.
  virtual void push_range(const char* name) { static_cast<void>(name); }
  virtual void pop_range() {}
  /// Host memory to device memory and back, in stream order; the host side must stay valid until then.
  virtual void upload(Stream& stream, const void* host, void* device, std::size_t bytes) = 0;
  virtual void download(Stream& stream, const void* device, void* host, std::size_t bytes) = 0;
  /// Zero-filled device memory that collectives reach without a copy where the hardware can do that. Freed
  /// after the communicator that was made after it.
  virtual Buffer allocate_for_communication(std::size_t bytes);
  /// Whether collectives over this backend's memory need a communicator of its own.
  virtual bool has_communicator() const { return false; }
  /// The communicator for this backend's memory, or null where memory is the host's: `host`, the one over
  /// host memory, then serves. All ranks of `host` make theirs at the same time. Collectives are ordered with
  /// `compute`; its deadline is that of `host`. Host, stream and backend must outlive it; one at a time.
  virtual std::unique_ptr<Communicator> make_communicator(Communicator& host, Stream& compute);

  virtual const NormOps& norm() const = 0;
  virtual const ResidualOps& residual() const = 0;
  virtual const LinearOps& linear() const = 0;
  virtual const ActivationOps& activation() const = 0;
  virtual const AttentionOps& attention() const = 0;
  virtual const EmbeddingOps& embedding() const = 0;
  virtual const HeadLossOps& head_loss() const = 0;
  virtual const OptimizerOps& optimizer() const = 0;
  virtual const ElementwiseOps& elementwise() const = 0;
  virtual const MomentsOps& moments() const = 0;
  virtual const ObservationOps& observations() const = 0;
  virtual const RandomOps& random() const = 0;
  virtual const ParameterOps& parameter() const = 0;
  virtual const StreamMixOps& stream_mix() const = 0;

 protected:
  /// A Buffer that memory_use() counts; for implementations of allocate.
  Buffer counted(void* data, std::size_t bytes, Buffer::Free free);
  Buffer counted(Buffer buffer);

 private:
  std::shared_ptr<MemoryUse> memory_use_ =
      std::make_shared<MemoryUse>();  ///< buffers may outlive the backend
};

/// Names a phase until it goes out of scope.
class PhaseRange {
 public:
  PhaseRange(Backend& backend, const char* name) : backend_(backend) { backend_.push_range(name); }
  ~PhaseRange() { backend_.pop_range(); }
  PhaseRange(const PhaseRange&) = delete;
  PhaseRange& operator=(const PhaseRange&) = delete;

 private:
  Backend& backend_;
};

/// fp64 for fp64, else fp32.
inline DType master_dtype(DType compute) {
  return compute == DType::Float64 ? DType::Float64 : DType::Float32;
}

}  // namespace plumb

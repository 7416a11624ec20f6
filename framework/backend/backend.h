// Backend: the one door to hardware. Nothing above framework/backends/ names a piece of hardware.
#pragma once

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
  virtual const RandomOps& random() const = 0;
  virtual const ParameterOps& parameter() const = 0;
  virtual const StreamMixOps& stream_mix() const = 0;
};

/// fp64 for fp64, else fp32.
inline DType master_dtype(DType compute) {
  return compute == DType::Float64 ? DType::Float64 : DType::Float32;
}

}  // namespace plumb

#include "backends/reference/reference_backend.h"

#include <cstring>
#include <new>

#include "backends/reference/ops.h"

namespace plumb {
namespace {
using namespace reference;

constexpr std::align_val_t kAlignment{64};

// Ops run when they are called, so there is never anything to wait for.
class ImmediateStream final : public Stream {
 public:
  void synchronize() override {}
};
class ImmediateEvent final : public Event {
 public:
  void record(Stream&) override {}
  void wait(Stream&) override {}
  void synchronize() override {}
};

class ReferenceBackend final : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  DeviceFacts facts() const override { return {"plain loops on one core", {"fp64", "fp32"}}; }
  std::vector<DType> compute_dtypes() const override { return {DType::Float64, DType::Float32}; }

  std::unique_ptr<Stream> create_stream() override { return std::make_unique<ImmediateStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<ImmediateEvent>(); }
  Buffer allocate(std::size_t bytes) override {
    void* data = ::operator new(bytes, kAlignment);
    std::memset(data, 0, bytes);
    return counted(data, bytes, [](void* memory, std::size_t) { ::operator delete(memory, kAlignment); });
  }
  void upload(Stream&, const void* host, void* device, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(device, host, bytes);
  }
  void download(Stream&, const void* device, void* host, std::size_t bytes) override {
    if (bytes > 0) std::memcpy(host, device, bytes);
  }

  const NormOps& norm() const override { return norm_; }
  const ResidualOps& residual() const override { return residual_; }
  const LinearOps& linear() const override { return linear_; }
  const ActivationOps& activation() const override { return activation_; }
  const AttentionOps& attention() const override { return attention_; }
  const EmbeddingOps& embedding() const override { return embedding_; }
  const HeadLossOps& head_loss() const override { return head_loss_; }
  const OptimizerOps& optimizer() const override { return optimizer_; }
  const ElementwiseOps& elementwise() const override { return elementwise_; }
  const MomentsOps& moments() const override { return moments_; }
  const ObservationOps& observations() const override { return observations_; }
  const RandomOps& random() const override { return random_; }
  const ParameterOps& parameter() const override { return parameter_; }
  const StreamMixOps& stream_mix() const override { return stream_mix_; }

 private:
  ReferenceNorm norm_;
  ReferenceResidual residual_;
  ReferenceLinear linear_;
  ReferenceActivation activation_;
  ReferenceAttention attention_;
  ReferenceEmbedding embedding_;
  ReferenceHeadLoss head_loss_;
  ReferenceOptimizer optimizer_;
  ReferenceElementwise elementwise_;
  ReferenceMoments moments_;
  ReferenceObservations observations_;
  ReferenceRandom random_;
  ReferenceParameter parameter_;
  ReferenceStreamMix stream_mix_;
};
}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace plumb

#include "backends/cpu/cpu_backend.h"

#include <oneapi/dnnl/dnnl.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/processor.h"
#include "comm/communicator.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace plumb {
namespace {
using namespace cpu;

constexpr std::size_t kCacheLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

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

/// Fills by chunks, so that on first touch a page lies near one of the threads that will use it.
void zero_fill(void* data, std::size_t bytes) {
  parallel_chunks(static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(kHugePage),
                  [&](int, std::int64_t begin, std::int64_t end) {
                    std::memset(static_cast<char*>(data) + begin, 0, static_cast<std::size_t>(end - begin));
                  });
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(Communicator* communicator) : communicator_(communicator) {}

  std::string_view name() const override { return "cpu"; }
  DeviceFacts facts() const override {
    const ProcessorFacts processor = read_processor_facts();
    const int cores = available_cores();
    DeviceFacts facts{fmt::format("{}, {} core{}", processor.model, cores, cores == 1 ? "" : "s"), {}};
    for (const char* flag : {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})
      if (processor.has(flag)) facts.features.emplace_back(flag);
    const dnnl_version_t* version = dnnl_version();
    facts.features.push_back(fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch));
    return facts;
  }
  std::vector<DType> compute_dtypes() const override { return {DType::Float32, DType::BFloat16}; }

  std::unique_ptr<Stream> create_stream() override { return std::make_unique<ImmediateStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<ImmediateEvent>(); }

  Buffer allocate(std::size_t bytes) override {
    const std::align_val_t alignment{bytes >= kHugePage ? kHugePage : kCacheLine};
    void* data = ::operator new(bytes, alignment);
    // Advice only: without huge pages everything works, with more misses of the address cache.
    if (bytes >= kHugePage) madvise(data, bytes, MADV_HUGEPAGE);
    zero_fill(data, bytes);
    return counted(data, bytes,
                   [alignment](void* memory, std::size_t) { ::operator delete(memory, alignment); });
  }
  Buffer allocate_for_communication(std::size_t bytes) override {
    if (communicator_ == nullptr) return allocate(bytes);
    std::shared_ptr<void> shared = communicator_->allocate("gradient memory", bytes);
    if (shared == nullptr) return allocate(bytes);
    void* data = shared.get();
    return counted(data, bytes, [shared = std::move(shared)](void*, std::size_t) mutable { shared.reset(); });
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
  Communicator* communicator_;
  CpuNorm norm_;
  CpuResidual residual_;
  CpuLinear linear_;
  CpuActivation activation_;
  CpuAttention attention_;
  CpuEmbedding embedding_;
  CpuHeadLoss head_loss_;
  CpuOptimizer optimizer_;
  CpuElementwise elementwise_;
  CpuMoments moments_;
  CpuObservations observations_;
  CpuRandom random_;
  CpuParameter parameter_;
  CpuStreamMix stream_mix_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(Communicator* communicator) {
  return std::make_unique<CpuBackend>(communicator);
}

}  // namespace plumb

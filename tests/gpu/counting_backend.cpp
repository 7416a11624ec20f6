#include "gpu/counting_backend.h"

#include <sys/mman.h>

#include "core/error.h"
#include "gpu/counted_ops.h"

namespace plumb::gpu {
namespace {

class NoStream final : public Stream {
 public:
  void synchronize() override {}
};

class NoEvent final : public Event {
 public:
  void record(Stream&) override {}
  void wait(Stream&) override {}
  void synchronize() override {}
};

/// Zeros that take no memory until they are written.
Buffer address_space(std::size_t bytes) {
  if (bytes == 0) return {};
  void* data =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  PLUMB_CHECK(data != MAP_FAILED, "no address space of {} bytes", bytes);
  return Buffer(data, bytes, [](void* memory, std::size_t size) { munmap(memory, size); });
}

class CountingBackend final : public Backend {
 public:
  explicit CountingBackend(std::vector<CountedKernel>& kernels) : ops_(kernels) {}

  std::string_view name() const override { return "counting"; }
  DeviceFacts facts() const override { return {"none", {}, {}}; }
  std::vector<DType> compute_dtypes() const override { return {DType::BFloat16}; }
  bool prefers_remaking() const override { return false; }  // as cuda
  std::unique_ptr<Stream> create_stream() override { return std::make_unique<NoStream>(); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<NoEvent>(); }
  Buffer allocate(std::size_t bytes) override { return counted(address_space(bytes)); }
  void upload(Stream&, const void*, void*, std::size_t) override {}
  void download(Stream&, const void*, void*, std::size_t) override {}

  const NormOps& norm() const override { return ops_.norm; }
  const ResidualOps& residual() const override { return ops_.residual; }
  const LinearOps& linear() const override { return ops_.linear; }
  const ActivationOps& activation() const override { return ops_.activation; }
  const AttentionOps& attention() const override { return ops_.attention; }
  const EmbeddingOps& embedding() const override { return ops_.embedding; }
  const HeadLossOps& head_loss() const override { return ops_.head_loss; }
  const OptimizerOps& optimizer() const override { return ops_.optimizer; }
  const ElementwiseOps& elementwise() const override { return ops_.elementwise; }
  const MomentsOps& moments() const override { return ops_.moments; }
  const ObservationOps& observations() const override { return ops_.observations; }
  const RandomOps& random() const override { return ops_.random; }
  const ParameterOps& parameter() const override { return ops_.parameter; }
  const StreamMixOps& stream_mix() const override { fail("a counted step has one stream"); }

 private:
  CountedOps ops_;
};

}  // namespace

std::unique_ptr<Backend> make_counting_backend(std::vector<CountedKernel>& kernels) {
  return std::make_unique<CountingBackend>(kernels);
}

}  // namespace plumb::gpu

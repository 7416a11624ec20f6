#include "backends/planning/planning_backend.h"

#include <sys/mman.h>

#include <utility>

#include "comm/planned_communicator.h"
#include "core/error.h"

namespace plumb {
namespace {

/// Address space of which no page exists until it is touched; zero-filled like every allocation. One byte
/// more, so that an empty buffer has a place, too.
void* reserve(std::size_t bytes) {
  void* data =
      mmap(nullptr, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    fail_input(
        "{} bytes of address space for planning cannot be had; the system counts what is only reserved "
        "(vm.overcommit_memory = 2), or `ulimit -v` is set",
        bytes);
  }
  return data;
}
void release(void* data, std::size_t bytes) { munmap(data, bytes + 1); }

/// Nothing is written: of a device the memory is not there.
class PlannedElementwise final : public ElementwiseOps {
 public:
  explicit PlannedElementwise(const ElementwiseOps& inner) : inner_(inner) {}
  void fill(Stream&, const Tensor&, double) const override {}
  void copy(Stream&, const Tensor&, const Tensor&) const override {}
  void add(Stream&, const Tensor&, const Tensor&) const override {}
  void sum_of_squares(Stream&, const SumOfSquares&, std::span<const Tensor>) const override {}
  std::size_t sum_of_squares_workspace(std::span<const Tensor> tensors) const override {
    return inner_.sum_of_squares_workspace(tensors);
  }
  void hash(Stream&, const HashTensors&, std::span<const Tensor>) const override {}
  std::size_t hash_workspace(std::span<const Tensor> tensors) const override {
    return inner_.hash_workspace(tensors);
  }
  void group_gain_forward(Stream&, const GroupGain&) const override {}
  void group_gain_backward(Stream&, const GroupGainBackward&) const override {}
  std::size_t group_gain_backward_workspace(const GroupGainBackward& arguments) const override {
    return inner_.group_gain_backward_workspace(arguments);
  }
  void scalar_bias_forward(Stream&, const ScalarBias&) const override {}
  void scalar_bias_backward(Stream&, const ScalarBiasBackward&) const override {}
  std::size_t scalar_bias_backward_workspace(const ScalarBiasBackward& arguments) const override {
    return inner_.scalar_bias_backward_workspace(arguments);
  }

 private:
  const ElementwiseOps& inner_;
};

class PlanningBackend final : public PlannedMemory {
 public:
  explicit PlanningBackend(std::unique_ptr<Backend> inner)
      : inner_(std::move(inner)), elementwise_(inner_->elementwise()) {}

  std::string_view name() const override { return inner_->name(); }
  DeviceFacts facts() const override { return inner_->facts(); }
  std::vector<DType> compute_dtypes() const override { return inner_->compute_dtypes(); }
  std::unique_ptr<Stream> create_stream() override { return inner_->create_stream(); }
  std::unique_ptr<Event> create_event() override { return inner_->create_event(); }
  bool has_tf32() const override { return inner_->has_tf32(); }
  bool is_asynchronous() const override { return inner_->is_asynchronous(); }
  bool has_communicator() const override { return inner_->has_communicator(); }
  bool prefers_remaking() const override { return inner_->prefers_remaking(); }

  Buffer allocate(std::size_t bytes) override { return counted(reserve(bytes), bytes, release); }
  Buffer allocate_for_communication(std::size_t bytes) override {
    communication_bytes_ += bytes;
    return allocate(bytes);
  }
  Buffer allocate_host(std::size_t bytes) override {
    host_bytes_ += bytes;
    return Buffer(reserve(bytes), bytes, release);
  }
  std::size_t host_bytes() const override { return host_bytes_; }
  std::size_t communication_bytes() const override { return communication_bytes_; }

  std::unique_ptr<Communicator> make_communicator(Communicator& host, Stream&) override {
    if (!inner_->has_communicator()) return nullptr;
    return std::make_unique<PlannedCommunicator>(host.rank(), host.hosts());
  }
  void upload(Stream&, const void*, void*, std::size_t) override {}
  void download(Stream&, const void*, void*, std::size_t) override {}

  const NormOps& norm() const override { return inner_->norm(); }
  const ResidualOps& residual() const override { return inner_->residual(); }
  const LinearOps& linear() const override { return inner_->linear(); }
  const ActivationOps& activation() const override { return inner_->activation(); }
  const AttentionOps& attention() const override { return inner_->attention(); }
  const EmbeddingOps& embedding() const override { return inner_->embedding(); }
  const HeadLossOps& head_loss() const override { return inner_->head_loss(); }
  const OptimizerOps& optimizer() const override { return inner_->optimizer(); }
  const ElementwiseOps& elementwise() const override { return elementwise_; }
  const MomentsOps& moments() const override { return inner_->moments(); }
  const ObservationOps& observations() const override { return inner_->observations(); }
  const RandomOps& random() const override { return inner_->random(); }
  const ParameterOps& parameter() const override { return inner_->parameter(); }
  const StreamMixOps& stream_mix() const override { return inner_->stream_mix(); }

 private:
  std::unique_ptr<Backend> inner_;
  PlannedElementwise elementwise_;
  std::size_t host_bytes_ = 0, communication_bytes_ = 0;
};

}  // namespace

std::unique_ptr<PlannedMemory> make_planning_backend(std::unique_ptr<Backend> inner) {
  return std::make_unique<PlanningBackend>(std::move(inner));
}

}  // namespace plumb

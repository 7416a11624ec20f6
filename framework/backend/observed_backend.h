// ObservedBackend: another backend, whose ops tell an observer of themselves and of the tensors that they
// have written. For passes that are looked into, and for traces.
#pragma once

#include <memory>
#include <span>

#include "backend/backend.h"

namespace plumb {

class OpObserver {
 public:
  virtual ~OpObserver() = default;
  /// Around every op, what it tells of in wrote() included. `work`: the arguments that say how much work it
  /// is; some may be empty.
  virtual void began(const char* op, std::span<const Tensor* const> work) {
    static_cast<void>(op);
    static_cast<void>(work);
  }
  virtual void ended() {}
  /// After the op was issued to the stream. `tensor`: one that it has written or added to, `name` as in its
  /// arguments ("dweight"). Of statistics only the sums of the loss are told of.
  virtual void wrote(Stream& stream, const char* op, const char* name, const Tensor& tensor) = 0;
  /// Backend::push_range and pop_range: which part of a model issues ops.
  virtual void entered(const char* range) = 0;
  virtual void left() = 0;
};

class ObservedBackend final : public Backend {
 public:
  /// Both must outlive it. Memory, streams and everything else are the inner backend's; only memory_use()
  /// counts nothing here, but what is allocated at the inner one.
  ObservedBackend(Backend& inner, OpObserver& observer);
  ~ObservedBackend() override;

  std::string_view name() const override { return inner_.name(); }
  DeviceFacts facts() const override { return inner_.facts(); }
  std::vector<DType> compute_dtypes() const override { return inner_.compute_dtypes(); }
  std::unique_ptr<Stream> create_stream() override { return inner_.create_stream(); }
  std::unique_ptr<Event> create_event() override { return inner_.create_event(); }
  Buffer allocate(std::size_t bytes) override { return inner_.allocate(bytes); }
  Buffer allocate_host(std::size_t bytes) override { return inner_.allocate_host(bytes); }
  bool has_tf32() const override { return inner_.has_tf32(); }
  bool is_asynchronous() const override { return inner_.is_asynchronous(); }
  bool prefers_remaking() const override { return inner_.prefers_remaking(); }
  std::size_t device_bytes_in_use() const override { return inner_.device_bytes_in_use(); }
  std::unique_ptr<Recording> record(Stream& stream, const std::function<void()>& body) override {
    return inner_.record(stream, body);
  }
  Buffer allocate_for_communication(std::size_t bytes) override {
    return inner_.allocate_for_communication(bytes);
  }
  bool has_communicator() const override { return inner_.has_communicator(); }
  std::unique_ptr<Communicator> make_communicator(Communicator& host, Stream& compute) override;
  void push_range(const char* name) override;
  void pop_range() override;
  void upload(Stream& stream, const void* host, void* device, std::size_t bytes) override {
    inner_.upload(stream, host, device, bytes);
  }
  void download(Stream& stream, const void* device, void* host, std::size_t bytes) override {
    inner_.download(stream, device, host, bytes);
  }

  const NormOps& norm() const override;
  const ResidualOps& residual() const override;
  const LinearOps& linear() const override;
  const ActivationOps& activation() const override;
  const AttentionOps& attention() const override;
  const EmbeddingOps& embedding() const override;
  const HeadLossOps& head_loss() const override;
  const OptimizerOps& optimizer() const override;
  const ElementwiseOps& elementwise() const override;
  const MomentsOps& moments() const override;
  const ObservationOps& observations() const override;
  const RandomOps& random() const override;
  const ParameterOps& parameter() const override;
  const StreamMixOps& stream_mix() const override;

 private:
  struct Ops;
  Backend& inner_;
  OpObserver& observer_;
  std::unique_ptr<Ops> ops_;
};

}  // namespace plumb

#include "backends/cuda/cuda_backend.h"

#include <nvtx3/nvToolsExt.h>

#include <cstring>

#include "backends/cuda/check.h"
#include "backends/cuda/communication_memory.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/device.h"
#include "backends/cuda/graph.h"
#include "backends/cuda/nccl_communicator.h"
#include "backends/cuda/stream.h"

namespace plumb::cuda {
namespace {

class CudaBackend final : public Backend {
 public:
  CudaBackend(const char* name, const BackendOptions& options)
      : name_(name), products_(options.tf32), attention_(options.attention) {}

  std::string_view name() const override { return name_; }
  DeviceFacts facts() const override { return device_facts(); }
  std::vector<DType> compute_dtypes() const override {
    return {DType::BFloat16, DType::Float32, DType::Float16};
  }

  std::unique_ptr<Stream> create_stream() override { return std::make_unique<CudaStream>(watch_); }
  std::unique_ptr<Event> create_event() override { return std::make_unique<CudaEvent>(watch_); }

  Buffer allocate(std::size_t bytes) override {
    void* data = nullptr;
    PLUMB_CUDA(cudaMalloc(&data, bytes == 0 ? 1 : bytes));
    Buffer buffer =
        counted(data, bytes, [](void* memory, std::size_t) { static_cast<void>(cudaFree(memory)); });
    const CudaStream stream(watch_);
    PLUMB_CUDA(cudaMemsetAsync(data, 0, bytes, stream.handle()));
    PLUMB_CUDA(cudaStreamSynchronize(stream.handle()));
    return buffer;
  }
  Buffer allocate_host(std::size_t bytes) override {
    void* data = nullptr;
    PLUMB_CUDA(cudaMallocHost(&data, bytes == 0 ? 1 : bytes));
    std::memset(data, 0, bytes);
    return Buffer(data, bytes, [](void* memory, std::size_t) { static_cast<void>(cudaFreeHost(memory)); });
  }
  std::size_t device_bytes_in_use() const override {
    std::size_t free = 0, total = 0;
    PLUMB_CUDA(cudaMemGetInfo(&free, &total));
    return total - free;
  }
  void push_range(const char* name) override { nvtxRangePushA(name); }
  void pop_range() override { nvtxRangePop(); }
  bool has_tf32() const override { return true; }
  bool is_asynchronous() const override { return true; }
  // Every pass costs the time of its bytes here.
  bool prefers_remaking() const override { return false; }
  std::unique_ptr<Recording> record(Stream& stream, const std::function<void()>& body) override {
    return record_graph(stream, body);
  }
  Buffer allocate_for_communication(std::size_t bytes) override {
    return counted(communication_memory_.allocate(bytes, watch_));
  }
  bool has_communicator() const override { return true; }
  std::unique_ptr<Communicator> make_communicator(Communicator& host, Stream& compute) override {
    return std::make_unique<NcclCommunicator>(host, compute, communication_memory_, watch_);
  }
  void upload(Stream& stream, const void* host, void* device, std::size_t bytes) override {
    if (bytes > 0)
      PLUMB_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, handle_of(stream)));
  }
  void download(Stream& stream, const void* device, void* host, std::size_t bytes) override {
    if (bytes > 0)
      PLUMB_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, handle_of(stream)));
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
  const char* name_;
  WaitWatch watch_;
  CommunicationMemory communication_memory_;
  MatrixProducts products_;
  CudaNorm norm_;
  CudaResidual residual_;
  CudaLinear linear_{products_};
  CudaActivation activation_;
  CudaAttention attention_;
  CudaEmbedding embedding_;
  CudaHeadLoss head_loss_{products_};
  CudaOptimizer optimizer_;
  CudaElementwise elementwise_;
  CudaMoments moments_;
  CudaObservations observations_;
  CudaRandom random_;
  CudaParameter parameter_;
  CudaStreamMix stream_mix_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const char* name, const BackendOptions& options) {
  bind_device(options.local_rank, options.local_size);
  return std::make_unique<CudaBackend>(name, options);
}

}  // namespace plumb::cuda

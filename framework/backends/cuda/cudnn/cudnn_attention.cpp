// AttentionLibrary by cuDNN.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <array>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "backends/cuda/arguments.h"
#include "backends/cuda/attention_library.h"
#include "backends/cuda/attention_refusal.h"
#include "backends/cuda/check.h"
#include "backends/cuda/cudnn/attention_graph.h"
#include "backends/cuda/cudnn/attention_plan.h"
#include "backends/cuda/cudnn/cudnn_check.h"
#include "backends/cuda/cudnn_versions.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

struct DestroyHandle {
  void operator()(cudnnHandle_t handle) const { static_cast<void>(cudnnDestroy(handle)); }
};
using Handle = std::unique_ptr<cudnnContext, DestroyHandle>;

Handle make_handle() {
  cudnnHandle_t handle = nullptr;
  PLUMB_CUDNN(cudnnCreate(&handle));
  return Handle(handle);
}

int device_compute_capability() {
  int device = 0, major = 0, minor = 0;
  PLUMB_CUDA(cudaGetDevice(&device));
  PLUMB_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  PLUMB_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return 10 * major + minor;
}

std::string version_text(std::size_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

/// The pointers of one execution. Host numbers are passed by value when the plan runs.
class VariantPack {
 public:
  void add(AttentionTensor tensor, const void* data) {
    numbers_.at(count_) = static_cast<std::int64_t>(tensor);
    pointers_.at(count_) = const_cast<void*>(data);
    ++count_;
  }
  void run(cudnnHandle_t handle, const ExecutionPlan& plan, void* workspace) const {
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, std::span<const std::int64_t>(numbers_.data(), count_));
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, std::span<void* const>(pointers_.data(), count_));
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
    pack.finalize();
    PLUMB_CUDNN(cudnnBackendExecute(handle, plan.descriptor().get(), pack.get()));
  }

 private:
  static constexpr std::size_t kMost = static_cast<std::size_t>(AttentionTensor::One);
  std::array<std::int64_t, kMost> numbers_{};
  std::array<void*, kMost> pointers_{};
  std::size_t count_ = 0;
};

/// What a call of this request takes out of its workspace.
struct Scratch {
  Scratch(WorkspaceCarver& carver, const AttentionRequest& request, const ExecutionPlan& plan)
      : expected_gradient(request.pass == AttentionPass::Forward
                              ? nullptr
                              : carver.take<float>(request.batch * request.heads * request.tokens)),
        library(carver.take<unsigned char>(static_cast<std::int64_t>(plan.workspace()))) {}
  float* expected_gradient;
  unsigned char* library;
};

class CudnnAttention final : public AttentionLibrary {
 public:
  std::string name() const override { return "cuDNN " + version_text(cudnnGetVersion()); }

  std::string refusal(const AttentionRequest& request) const override { return served(request).refusal; }
  std::string plan(const AttentionRequest& request) const override {
    const ExecutionPlan& plan = plan_of(request);
    return fmt::format("{}, {} bytes of workspace", plan.name(), workspace(request));
  }
  std::size_t workspace(const AttentionRequest& request) const override {
    WorkspaceCarver carver;
    Scratch(carver, request, plan_of(request));
    return carver.bytes();
  }

  void forward(cudaStream_t stream, const AttentionForward& a) const override {
    VariantPack pack;
    pack.add(AttentionTensor::Query, a.q.data);
    pack.add(AttentionTensor::Key, a.k.data);
    pack.add(AttentionTensor::Value, a.v.data);
    pack.add(AttentionTensor::Out, a.out.data);
    pack.add(AttentionTensor::LogSumExp, a.log_sum_exp.data);
    run(stream, request_of(a), a.shape, a.workspace, pack);
  }
  void backward(cudaStream_t stream, const AttentionBackward& a) const override {
    VariantPack pack;
    pack.add(AttentionTensor::Query, a.q.data);
    pack.add(AttentionTensor::Key, a.k.data);
    pack.add(AttentionTensor::Value, a.v.data);
    pack.add(AttentionTensor::Out, a.out.data);
    pack.add(AttentionTensor::LogSumExp, a.log_sum_exp.data);
    pack.add(AttentionTensor::OutGradient, a.dout.data);
    pack.add(AttentionTensor::QueryGradient, a.dq.data);
    pack.add(AttentionTensor::KeyGradient, a.dk.data);
    pack.add(AttentionTensor::ValueGradient, a.dv.data);
    run(stream, request_of(a), a.shape, a.workspace, pack);
  }

 private:
  struct Device {
    int compute_capability = device_compute_capability();  // first: a fault of CUDA is to be its own error
    Handle handle = make_handle();
    PlanDevice plans{handle.get(), compute_capability};
  };
  /// Either a reason or a plan.
  struct Served {
    std::string refusal;
    std::optional<ExecutionPlan> plan;
  };

  const Device& device() const {
    if (!device_) device_ = std::make_unique<Device>();
    return *device_;
  }
  const Served& served(const AttentionRequest& request) const {
    auto found = served_.find(request);
    if (found == served_.end()) found = served_.emplace(request, serve(request)).first;
    return found->second;
  }
  Served serve(const AttentionRequest& request) const {
    if (!takes_cudnn(static_cast<long>(cudnnGetVersion()))) {
      return {fmt::format("its version is not among {} to {}", version_text(kOldestCudnn),
                          version_text(kFirstUnknownCudnn - 1)),
              {}};
    }
    try {
      std::string known = library_attention_refusal(request, device().compute_capability);
      if (!known.empty()) return {std::move(known), {}};
      PlanSearch search = find_attention_plan(request, device().plans);
      return {search.failure(), std::move(search).take()};
    } catch (const CudnnRefusal& error) {
      return {fmt::format("it does not work here: {}", error.what()), {}};
    }
  }
  const ExecutionPlan& plan_of(const AttentionRequest& request) const {
    const Served& one = served(request);
    PLUMB_CHECK(one.plan.has_value(), "{} does not take {}: {}", name(), to_string(request), one.refusal);
    return *one.plan;
  }

  void run(cudaStream_t stream, const AttentionRequest& request, const AttentionShape& shape,
           const Workspace& workspace, VariantPack& pack) const {
    const ExecutionPlan& plan = plan_of(request);
    WorkspaceCarver carver(workspace);
    const Scratch scratch(carver, request, plan);
    const auto scale = static_cast<float>(shape.scale);
    const float minus_infinity = -std::numeric_limits<float>::infinity(), one = 1;
    pack.add(AttentionTensor::Scale, &scale);
    if (request.causal) pack.add(AttentionTensor::MinusInfinity, &minus_infinity);
    if (request.pass == AttentionPass::Backward) {
      pack.add(AttentionTensor::ExpectedGradient, scratch.expected_gradient);
      pack.add(AttentionTensor::One, &one);
    }
    const cudnnHandle_t handle = device().handle.get();
    PLUMB_CUDNN(cudnnSetStream(handle, stream));
    pack.run(handle, plan, scratch.library);
  }

  mutable std::unique_ptr<Device> device_;
  mutable std::map<AttentionRequest, Served> served_;
};

}  // namespace

std::unique_ptr<AttentionLibrary> make_attention_library() { return std::make_unique<CudnnAttention>(); }

}  // namespace plumb::cuda

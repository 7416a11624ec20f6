#include "backends/cuda/cudnn/attention_plan.h"

#include "backends/cuda/cudnn/attention_graph.h"
#include "backends/cuda/cudnn/graph_descriptor.h"

namespace plumb::cuda {
namespace {

/// On sm_100 and sm_103 the graph's form does not make the backward pass deterministic: one engine in one
/// configuration is, says NVIDIA's own front end (cudnn-frontend 1.23, override_heuristics_query in
/// node/scaled_dot_product_flash_attention.h). The numbers hold for cuDNN 9.18.1 to 9.22.
std::optional<EngineChoice> deterministic_engine(const AttentionRequest& request, int compute_capability) {
  if (request.pass == AttentionPass::Forward || compute_capability / 10 != 10) return std::nullopt;
  return EngineChoice{5, {{CUDNN_KNOB_TYPE_KERNEL_CFG, 31}, {CUDNN_KNOB_TYPE_STAGES, 2}}};
}

}  // namespace

PlanSearch find_attention_plan(const AttentionRequest& request, const PlanDevice& device) {
  const bool forward = request.pass == AttentionPass::Forward;
  const OperationGraph graph = forward ? attention_forward_graph(request) : attention_backward_graph(request);
  return PlanSearch(graph_descriptor(graph), device,
                    deterministic_engine(request, device.compute_capability()));
}

}  // namespace plumb::cuda

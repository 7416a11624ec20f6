// Attention as graphs of cuDNN operations.
#pragma once

#include "backends/cuda/attention_request.h"
#include "backends/cuda/cudnn/operation_graph.h"

namespace plumb::cuda {

/// Numbers of the tensors that a variant pack gives.
enum class AttentionTensor : std::int64_t {
  Query = 1,
  Key,
  Value,
  Out,
  LogSumExp,
  OutGradient,
  QueryGradient,
  KeyGradient,
  ValueGradient,
  ExpectedGradient,  ///< backward scratch, (B,H,T) fp32: sum_d out * dout
  Scale,             ///< fp32 in host memory, like the next two
  MinusInfinity,     ///< causal only
  One                ///< backward only
};

/// out and log_sum_exp (natural logarithm) from q, k and v; FlashAttention, arXiv 2205.14135, in the
/// operations of https://docs.nvidia.com/deeplearning/cudnn/backend/latest/developer/graph-api.html, "Fused
/// Flash Attention fprop".
OperationGraph attention_forward_graph(const AttentionRequest& request);

/// dq, dk and dv; arXiv 2307.08691, "Fused Flash Attention bprop" of the same document. In the form that is
/// deterministic: dq leaves its product directly, without a sum over blocks of keys that is built with
/// atomics.
OperationGraph attention_backward_graph(const AttentionRequest& request);

}  // namespace plumb::cuda

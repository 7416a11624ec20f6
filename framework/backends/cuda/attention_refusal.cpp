#include "backends/cuda/attention_refusal.h"

#include <fmt/format.h>

#include <array>

namespace plumb::cuda {
namespace {

/// Heads start on a multiple of 16 bytes.
constexpr std::int64_t kWidthStep = 8;

std::int64_t largest_width(AttentionPass pass, int compute_capability) {
  const bool hopper = compute_capability / 10 == 9;
  return pass == AttentionPass::Forward || hopper ? 256 : 128;
}

std::string refused_mathematics(const AttentionRequest& request) {
  if (request.dtype != DType::BFloat16 && request.dtype != DType::Float16) {
    return fmt::format("it computes in bf16 and fp16, not in {}", name_of(request.dtype));
  }
  if (request.dropout) return "its dropout draws other random numbers than ours";
  if (request.soft_cap) return "it is asked for no soft cap";
  return "";
}

std::string refused_shape(const AttentionRequest& request, int compute_capability) {
  if (request.tokens == 1) return "it has no backward pass for sequences of one token";
  if (request.width % kWidthStep != 0) {
    return fmt::format("the head width {} is no multiple of {}", request.width, kWidthStep);
  }
  const std::int64_t limit = largest_width(request.pass, compute_capability);
  if (request.width > limit) {
    return fmt::format("the head width {} is above {}, the largest on sm_{}", request.width, limit,
                       compute_capability);
  }
  return "";
}

std::string refused_layout(const AttentionRequest& request) {
  const AttentionStrides& strides = request.strides;
  for (const std::int64_t stride :
       {strides.q, strides.k, strides.v, strides.out, strides.dout, strides.dq, strides.dk, strides.dv}) {
    if (stride % kWidthStep != 0) {
      return fmt::format("rows that are {} elements apart are not aligned to 16 bytes", stride);
    }
  }
  return request.aligned ? "" : "a tensor does not start on a multiple of 16 bytes";
}

}  // namespace

std::string library_attention_refusal(const AttentionRequest& request, int compute_capability) {
  if (compute_capability < 80) return fmt::format("sm_{} is older than sm_80", compute_capability);
  for (const std::string& reason :
       {refused_mathematics(request), refused_shape(request, compute_capability), refused_layout(request)}) {
    if (!reason.empty()) return reason;
  }
  return "";
}

}  // namespace plumb::cuda

// What decides who computes an attention call: its shape, dtype and memory layout, without pointers.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "backend/ops/attention.h"

namespace plumb::cuda {

enum class AttentionPass { Forward, Backward };

/// Elements from one token's row to the next, of every tensor (B*T, H*D) of a call; 0 for those that the pass
/// does not have.
struct AttentionStrides {
  std::int64_t q = 0, k = 0, v = 0, out = 0;
  std::int64_t dout = 0, dq = 0, dk = 0, dv = 0;
  auto operator<=>(const AttentionStrides&) const = default;
};

/// Calls with equal requests are served alike.
struct AttentionRequest {
  AttentionPass pass = AttentionPass::Forward;
  DType dtype = DType::BFloat16;
  std::int64_t batch = 1, tokens = 1, heads = 1, width = 1;  ///< as in AttentionShape
  bool causal = true;
  bool soft_cap = false, dropout = false;
  AttentionStrides strides;
  /// Every tensor starts on a multiple of 16 bytes. True at planning time, when there is no data yet.
  bool aligned = true;
  auto operator<=>(const AttentionRequest&) const = default;
};

AttentionRequest request_of(const AttentionForward& arguments);
AttentionRequest request_of(const AttentionBackward& arguments);

/// "attention forward, bf16, B 4, T 1024, H 12, D 64, causal, row strides 2304 2304 2304 768".
std::string to_string(const AttentionRequest& request);

}  // namespace plumb::cuda

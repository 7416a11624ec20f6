// Attention requests as the model makes them.
#pragma once

#include "backends/cuda/attention_request.h"

namespace plumb::cuda::test {

/// q, k, v and their gradients are column slices of one (B*T, 3*H*D) buffer.
inline AttentionRequest packed_request(AttentionPass pass, std::int64_t width, std::int64_t tokens = 1024,
                                       bool causal = true, DType dtype = DType::BFloat16) {
  AttentionRequest request;
  request.pass = pass;
  request.dtype = dtype;
  request.batch = 4;
  request.heads = 12;
  request.tokens = tokens;
  request.width = width;
  request.causal = causal;
  const std::int64_t row = request.heads * width, packed = 3 * row;
  request.strides = {.q = packed, .k = packed, .v = packed, .out = row};
  if (pass == AttentionPass::Backward) {
    request.strides.dout = row;
    request.strides.dq = request.strides.dk = request.strides.dv = packed;
  }
  return request;
}

}  // namespace plumb::cuda::test

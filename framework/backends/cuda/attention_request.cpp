#include "backends/cuda/attention_request.h"

#include <fmt/format.h>

#include <initializer_list>

namespace plumb::cuda {
namespace {

constexpr std::uintptr_t kAlignment = 16;

bool all_aligned(std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* tensor : tensors) {
    if (reinterpret_cast<std::uintptr_t>(tensor->data) % kAlignment != 0) return false;
  }
  return true;
}

AttentionRequest request_of_shape(AttentionPass pass, const AttentionShape& shape, DType dtype) {
  AttentionRequest request;
  request.pass = pass;
  request.dtype = dtype;
  request.batch = shape.batch;
  request.tokens = shape.tokens;
  request.heads = shape.heads;
  request.width = shape.width;
  request.causal = shape.causal;
  request.soft_cap = shape.soft_cap > 0;
  request.dropout = shape.dropout > 0;
  return request;
}

}  // namespace

AttentionRequest request_of(const AttentionForward& arguments) {
  const AttentionForward& a = arguments;
  AttentionRequest request = request_of_shape(AttentionPass::Forward, a.shape, a.q.dtype);
  request.strides = {.q = a.q.row_stride, .k = a.k.row_stride, .v = a.v.row_stride, .out = a.out.row_stride};
  request.aligned = all_aligned({&a.q, &a.k, &a.v, &a.out, &a.log_sum_exp});
  return request;
}

AttentionRequest request_of(const AttentionBackward& arguments) {
  const AttentionBackward& a = arguments;
  AttentionRequest request = request_of_shape(AttentionPass::Backward, a.shape, a.q.dtype);
  request.strides = {a.q.row_stride,    a.k.row_stride,  a.v.row_stride,  a.out.row_stride,
                     a.dout.row_stride, a.dq.row_stride, a.dk.row_stride, a.dv.row_stride};
  request.aligned = all_aligned({&a.q, &a.k, &a.v, &a.out, &a.log_sum_exp, &a.dout, &a.dq, &a.dk, &a.dv});
  return request;
}

std::string to_string(const AttentionRequest& request) {
  const AttentionStrides& strides = request.strides;
  const bool backward = request.pass == AttentionPass::Backward;
  std::string text = fmt::format(
      "attention {}, {}, B {}, T {}, H {}, D {}, {}{}{}, row strides {} {} {} {}",
      backward ? "backward" : "forward", name_of(request.dtype), request.batch, request.tokens, request.heads,
      request.width, request.causal ? "causal" : "full", request.soft_cap ? ", soft cap" : "",
      request.dropout ? ", dropout" : "", strides.q, strides.k, strides.v, strides.out);
  if (backward) text += fmt::format(" {} {} {} {}", strides.dout, strides.dq, strides.dk, strides.dv);
  return text;
}

}  // namespace plumb::cuda

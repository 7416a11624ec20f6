#include "backends/cuda/cudnn/attention_graph.h"

#include <utility>

#include "core/error.h"

namespace plumb::cuda {
namespace {

using Node = OperationGraph::Node;

cudnnDataType_t type_of(DType dtype) {
  if (dtype == DType::BFloat16) return CUDNN_DATA_BFLOAT16;
  if (dtype == DType::Float16) return CUDNN_DATA_HALF;
  fail("attention by cuDNN: {} is not among its types", name_of(dtype));
}

/// (B, H, T, D) to (B, H, D, T) and the like, of sizes and of strides.
GraphSize transposed(const GraphSize& size) { return {size[0], size[1], size[3], size[2]}; }

class Builder {
 public:
  explicit Builder(const AttentionRequest& request)
      : request_(request),
        type_(type_of(request.dtype)),
        heads_{request.batch, request.heads, request.tokens, request.width},
        scores_{request.batch, request.heads, request.tokens, request.tokens},
        rows_{request.batch, request.heads, request.tokens, 1} {}

  OperationGraph forward() {
    Node q = matrix(AttentionTensor::Query, strides().q);
    Node k = transposed_matrix(AttentionTensor::Key, strides().k);
    Node v = matrix(AttentionTensor::Value, strides().v);
    Node out = matrix(AttentionTensor::Out, strides().out);
    Node log_sum_exp = row_values(AttentionTensor::LogSumExp);
    Node logits = masked(scaled(product(q, k, scores_)));
    Node largest = graph_.intermediate(rows_);
    graph_.reduce(CUDNN_REDUCE_TENSOR_MAX, logits, largest);
    Node exponential = unary(CUDNN_POINTWISE_EXP, binary(CUDNN_POINTWISE_SUB, logits, largest, scores_));
    Node sum = graph_.intermediate(rows_);
    graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, exponential, sum);
    Node logarithm = graph_.intermediate(rows_);
    graph_.pointwise(CUDNN_POINTWISE_LOG, sum, logarithm);
    graph_.pointwise(CUDNN_POINTWISE_ADD, largest, logarithm, log_sum_exp);
    Node probabilities = graph_.intermediate(scores_, type_);
    graph_.pointwise(CUDNN_POINTWISE_DIV, exponential, sum, probabilities);
    graph_.matmul(probabilities, v, out);
    return std::move(graph_);
  }

  OperationGraph backward() {
    Node q = matrix(AttentionTensor::Query, strides().q);
    Node k = transposed_matrix(AttentionTensor::Key, strides().k);
    Node v = transposed_matrix(AttentionTensor::Value, strides().v);
    Node out = matrix(AttentionTensor::Out, strides().out);
    Node dout = matrix(AttentionTensor::OutGradient, strides().dout);
    Node expected = expected_gradient(out, dout);
    Node scale = graph_.scalar(number(AttentionTensor::Scale));

    Node logits = binary(CUDNN_POINTWISE_MUL, product(q, k, scores_), scale, scores_);
    Node shifted =
        masked(binary(CUDNN_POINTWISE_SUB, logits, row_values(AttentionTensor::LogSumExp), scores_));
    Node probabilities = unary(CUDNN_POINTWISE_EXP, shifted);
    graph_.matmul(keys_first(probabilities), dout, matrix(AttentionTensor::ValueGradient, strides().dv));

    Node dprobabilities = binary(CUDNN_POINTWISE_SUB, product(dout, v, scores_), expected, scores_);
    Node dlogits = binary(CUDNN_POINTWISE_MUL, dprobabilities, probabilities, scores_);
    Node dproducts = binary(CUDNN_POINTWISE_MUL, dlogits, scale, scores_);
    graph_.matmul(keys_first(dproducts), q, matrix(AttentionTensor::KeyGradient, strides().dk));
    Node keys = graph_.intermediate(heads_, strides_of(strides().k), type_);
    graph_.reshape(k, keys);
    graph_.matmul(dproducts, keys, matrix(AttentionTensor::QueryGradient, strides().dq));
    return std::move(graph_);
  }

 private:
  const AttentionStrides& strides() const { return request_.strides; }
  static std::int64_t number(AttentionTensor tensor) { return static_cast<std::int64_t>(tensor); }

  /// Head h is columns [h*D, (h+1)*D) of rows that are `row` elements apart.
  GraphSize strides_of(std::int64_t row) const { return {request_.tokens * row, request_.width, row, 1}; }
  Node matrix(AttentionTensor tensor, std::int64_t row) {
    return graph_.memory(number(tensor), heads_, strides_of(row), type_);
  }
  Node transposed_matrix(AttentionTensor tensor, std::int64_t row) {
    return graph_.memory(number(tensor), transposed(heads_), transposed(strides_of(row)), type_);
  }
  Node row_values(AttentionTensor tensor) {
    return graph_.memory(number(tensor), rows_, contiguous_strides(rows_), CUDNN_DATA_FLOAT);
  }

  Node unary(cudnnPointwiseMode_t mode, Node x) {
    Node y = graph_.intermediate(scores_);
    graph_.pointwise(mode, x, y);
    return y;
  }
  Node binary(cudnnPointwiseMode_t mode, Node x, Node b, const GraphSize& size) {
    Node y = graph_.intermediate(size);
    graph_.pointwise(mode, x, b, y);
    return y;
  }
  Node product(Node a, Node b, const GraphSize& size) {
    Node c = graph_.intermediate(size);
    graph_.matmul(a, b, c);
    return c;
  }
  Node scaled(Node x) {
    return binary(CUDNN_POINTWISE_MUL, x, graph_.scalar(number(AttentionTensor::Scale)), scores_);
  }

  /// Minus infinity where the key comes after the query.
  Node masked(Node x) {
    if (!request_.causal) return x;
    Node query = graph_.intermediate(scores_, CUDNN_DATA_INT32);
    graph_.generate_index(2, x, query);
    Node key = graph_.intermediate(scores_, CUDNN_DATA_INT32);
    graph_.generate_index(3, x, key);
    Node visible = graph_.intermediate(scores_, CUDNN_DATA_BOOLEAN);
    graph_.pointwise(CUDNN_POINTWISE_CMP_GE, query, key, visible);
    Node y = graph_.intermediate(scores_);
    graph_.select(x, graph_.scalar(number(AttentionTensor::MinusInfinity)), visible, y);
    return y;
  }

  /// sum_j P_ij dP_ij = out_i . dout_i, what the softmax subtracts; cuDNN keeps it in memory of ours. The
  /// product with one stands where dropout's scale would be: engines look for it.
  Node expected_gradient(Node out, Node dout) {
    Node products = binary(CUDNN_POINTWISE_MUL, dout, out, heads_);
    Node sum = graph_.intermediate(rows_);
    graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, products, sum);
    Node expected = row_values(AttentionTensor::ExpectedGradient);
    graph_.pointwise(CUDNN_POINTWISE_MUL, sum, graph_.scalar(number(AttentionTensor::One)), expected);
    return expected;
  }

  /// (B, H, query, key) as (B, H, key, query) in the compute dtype.
  Node keys_first(Node x) {
    Node y = graph_.intermediate(transposed(scores_), transposed(contiguous_strides(scores_)), type_);
    graph_.reshape(x, y);
    return y;
  }

  const AttentionRequest& request_;
  cudnnDataType_t type_;
  GraphSize heads_, scores_, rows_;
  OperationGraph graph_;
};

}  // namespace

OperationGraph attention_forward_graph(const AttentionRequest& request) { return Builder(request).forward(); }

OperationGraph attention_backward_graph(const AttentionRequest& request) {
  return Builder(request).backward();
}

}  // namespace plumb::cuda

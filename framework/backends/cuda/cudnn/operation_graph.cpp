#include "backends/cuda/cudnn/operation_graph.h"

#include <utility>

namespace plumb::cuda {
namespace {

constexpr std::int64_t kAlignment = 16;  ///< bytes; attention_refusal.h keeps anything else away

}  // namespace

GraphSize contiguous_strides(const GraphSize& size) {
  return {size[1] * size[2] * size[3], size[2] * size[3], size[3], 1};
}

OperationGraph::Node OperationGraph::tensor(const StoredTensor& tensor, bool is_virtual, bool by_value) {
  Descriptor& made = parts_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, tensor.type);
  made.set<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(tensor.size));
  made.set<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(tensor.strides));
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, tensor.number);
  made.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual);
  made.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, by_value);
  made.finalize();
  return made;
}

OperationGraph::Node OperationGraph::stored(const StoredTensor& stored) {
  return tensor(stored, false, false);
}

OperationGraph::Node OperationGraph::scalar(std::int64_t number) {
  return tensor({number, {1, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_FLOAT}, false, true);
}

OperationGraph::Node OperationGraph::intermediate(const GraphSize& size, cudnnDataType_t type) {
  return intermediate(size, contiguous_strides(size), type);
}

OperationGraph::Node OperationGraph::intermediate(const GraphSize& size, const GraphSize& strides,
                                                  cudnnDataType_t type) {
  return tensor({next_number_++, size, strides, type}, true, false);
}

void OperationGraph::add_operation(Descriptor operation) {
  operation.finalize();
  operations_.push_back(operation.get());
  parts_.push_back(std::move(operation));
}

void OperationGraph::matmul(Node a, Node b, Node c) {
  Descriptor& kind = parts_.emplace_back(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  kind.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  kind.finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
  operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
  add_operation(std::move(operation));
}

OperationGraph::Node OperationGraph::pointwise_mode(cudnnPointwiseMode_t mode, std::int64_t axis) {
  Descriptor& kind = parts_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  kind.set(CUDNN_ATTR_POINTWISE_MODE, mode);
  kind.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  if (axis >= 0) kind.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  kind.finalize();
  return kind;
}

void OperationGraph::pointwise(cudnnPointwiseMode_t mode, Node x, Node y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise_mode(mode));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  add_operation(std::move(operation));
}

void OperationGraph::pointwise(cudnnPointwiseMode_t mode, Node x, Node b, Node y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise_mode(mode));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  add_operation(std::move(operation));
}

void OperationGraph::select(Node x, Node otherwise, Node mask, Node y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise_mode(CUDNN_POINTWISE_BINARY_SELECT));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, otherwise);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, mask);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  add_operation(std::move(operation));
}

void OperationGraph::generate_index(std::int64_t axis, Node like, Node y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
                pointwise_mode(CUDNN_POINTWISE_GEN_INDEX, axis));
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, like);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  add_operation(std::move(operation));
}

void OperationGraph::reduce(cudnnReduceTensorOp_t operator_, Node x, Node y) {
  Descriptor& kind = parts_.emplace_back(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  kind.set(CUDNN_ATTR_REDUCTION_OPERATOR, operator_);
  kind.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  kind.finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
  operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
  add_operation(std::move(operation));
}

void OperationGraph::reshape(Node x, Node y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
  operation.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
  add_operation(std::move(operation));
}

Descriptor OperationGraph::finish() {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
  graph.finalize();
  return graph;
}

}  // namespace plumb::cuda

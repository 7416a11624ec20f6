#include "backends/cuda/cudnn/operation_graph.h"

namespace plumb::cuda {
namespace {

constexpr std::int64_t kFirstIntermediate = 1000;  ///< numbers of other tensors are below

}  // namespace

GraphSize contiguous_strides(const GraphSize& size) {
  return {size[1] * size[2] * size[3], size[2] * size[3], size[3], 1};
}

OperationGraph::Node OperationGraph::add(const GraphTensor& tensor) {
  tensors_.push_back(tensor);
  return static_cast<Node>(tensors_.size()) - 1;
}

OperationGraph::Node OperationGraph::memory(std::int64_t number, const GraphSize& size,
                                            const GraphSize& strides, cudnnDataType_t type) {
  return add({number, size, strides, type, GraphStorage::Memory});
}

OperationGraph::Node OperationGraph::scalar(std::int64_t number) {
  return add({number, {1, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_FLOAT, GraphStorage::Scalar});
}

OperationGraph::Node OperationGraph::intermediate(const GraphSize& size, cudnnDataType_t type) {
  return intermediate(size, contiguous_strides(size), type);
}

OperationGraph::Node OperationGraph::intermediate(const GraphSize& size, const GraphSize& strides,
                                                  cudnnDataType_t type) {
  const std::int64_t number = kFirstIntermediate + static_cast<std::int64_t>(tensors_.size());
  return add({number, size, strides, type, GraphStorage::Intermediate});
}

void OperationGraph::matmul(Node a, Node b, Node c) {
  operations_.push_back({.kind = GraphOperationKind::MatrixProduct, .x = a, .b = b, .y = c});
}

void OperationGraph::pointwise(cudnnPointwiseMode_t mode, Node x, Node y) {
  operations_.push_back({.mode = mode, .x = x, .y = y});
}

void OperationGraph::pointwise(cudnnPointwiseMode_t mode, Node x, Node b, Node y) {
  operations_.push_back({.mode = mode, .x = x, .b = b, .y = y});
}

void OperationGraph::select(Node x, Node otherwise, Node mask, Node y) {
  operations_.push_back(
      {.mode = CUDNN_POINTWISE_BINARY_SELECT, .x = x, .b = otherwise, .mask = mask, .y = y});
}

void OperationGraph::generate_index(std::int64_t axis, Node x, Node y) {
  operations_.push_back({.mode = CUDNN_POINTWISE_GEN_INDEX, .axis = axis, .x = x, .y = y});
}

void OperationGraph::reduce(cudnnReduceTensorOp_t reduction, Node x, Node y) {
  operations_.push_back({.kind = GraphOperationKind::Reduction, .reduction = reduction, .x = x, .y = y});
}

void OperationGraph::reshape(Node x, Node y) {
  operations_.push_back({.kind = GraphOperationKind::Reshape, .x = x, .y = y});
}

}  // namespace plumb::cuda

// Builds a graph of cuDNN operations over tensors of four dimensions.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "backends/cuda/cudnn/descriptor.h"

namespace plumb::cuda {

/// (batch, head, row, column).
using GraphSize = std::array<std::int64_t, 4>;

/// A tensor with memory of its own, which a variant pack gives by the number.
struct StoredTensor {
  std::int64_t number = 0;
  GraphSize size{};
  GraphSize strides{};  ///< elements
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
};

/// Operations and tensors in the order of their making. Sums and intermediate values are fp32.
class OperationGraph {
 public:
  using Node = const Descriptor&;  ///< a tensor; lives as long as the graph

  Node stored(const StoredTensor& tensor);
  /// An fp32 number that the variant pack points to in host memory.
  Node scalar(std::int64_t number);
  Node intermediate(const GraphSize& size, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  Node intermediate(const GraphSize& size, const GraphSize& strides, cudnnDataType_t type);

  void matmul(Node a, Node b, Node c);
  void pointwise(cudnnPointwiseMode_t mode, Node x, Node y);
  void pointwise(cudnnPointwiseMode_t mode, Node x, Node b, Node y);
  /// y = mask ? x : otherwise.
  void select(Node x, Node otherwise, Node mask, Node y);
  /// y[...] = the index along the axis.
  void generate_index(std::int64_t axis, Node like, Node y);
  /// Over the axis that has size 1 in y.
  void reduce(cudnnReduceTensorOp_t operation, Node x, Node y);
  void reshape(Node x, Node y);

  /// The finished graph; it needs this object no longer.
  Descriptor finish();

 private:
  Node tensor(const StoredTensor& tensor, bool is_virtual, bool by_value);
  void add_operation(Descriptor operation);
  Node pointwise_mode(cudnnPointwiseMode_t mode, std::int64_t axis = -1);

  std::deque<Descriptor> parts_;
  std::vector<cudnnBackendDescriptor_t> operations_;
  std::int64_t next_number_ = 1000;  ///< of intermediates; stored ones are below
};

/// Of a contiguous tensor.
GraphSize contiguous_strides(const GraphSize& size);

}  // namespace plumb::cuda

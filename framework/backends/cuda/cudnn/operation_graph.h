// A graph of cuDNN operations over tensors of four dimensions, as plain data (graph_descriptor.h makes the
// library's own of it).
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <vector>

namespace plumb::cuda {

/// (batch, head, row, column).
using GraphSize = std::array<std::int64_t, 4>;
/// Of a contiguous tensor.
GraphSize contiguous_strides(const GraphSize& size);

enum class GraphStorage {
  Memory,       ///< the variant pack gives a device pointer
  Scalar,       ///< one fp32 number; the variant pack gives a host pointer
  Intermediate  ///< never in memory, unless the library puts it into its workspace
};

struct GraphTensor {
  std::int64_t number = 0;  ///< cuDNN's unique id
  GraphSize size{};
  GraphSize strides{};  ///< elements
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  GraphStorage storage = GraphStorage::Memory;
};

enum class GraphOperationKind { MatrixProduct, Pointwise, Reduction, Reshape };

/// Tensors by their place in OperationGraph::tensors(); -1 = not there.
struct GraphOperation {
  GraphOperationKind kind = GraphOperationKind::Pointwise;
  cudnnPointwiseMode_t mode = CUDNN_POINTWISE_IDENTITY;       ///< Pointwise
  cudnnReduceTensorOp_t reduction = CUDNN_REDUCE_TENSOR_ADD;  ///< Reduction
  std::int64_t axis = -1;                                     ///< of CUDNN_POINTWISE_GEN_INDEX
  int x = -1, b = -1, mask = -1, y = -1;
};

/// Operations in the order of their making. Sums and what lies between operations are fp32.
class OperationGraph {
 public:
  using Node = int;

  const std::vector<GraphTensor>& tensors() const { return tensors_; }
  const std::vector<GraphOperation>& operations() const { return operations_; }

  Node memory(std::int64_t number, const GraphSize& size, const GraphSize& strides, cudnnDataType_t type);
  Node scalar(std::int64_t number);
  Node intermediate(const GraphSize& size, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  Node intermediate(const GraphSize& size, const GraphSize& strides, cudnnDataType_t type);

  void matmul(Node a, Node b, Node c);
  void pointwise(cudnnPointwiseMode_t mode, Node x, Node y);
  void pointwise(cudnnPointwiseMode_t mode, Node x, Node b, Node y);  ///< b may have size 1 along axes
  /// y = mask ? x : otherwise.
  void select(Node x, Node otherwise, Node mask, Node y);
  /// y[...] = the index along the axis, y of the size of x.
  void generate_index(std::int64_t axis, Node x, Node y);
  /// Along the axis where y has size 1.
  void reduce(cudnnReduceTensorOp_t reduction, Node x, Node y);
  /// The memory of x seen with the size and the strides of y.
  void reshape(Node x, Node y);

 private:
  Node add(const GraphTensor& tensor);

  std::vector<GraphTensor> tensors_;
  std::vector<GraphOperation> operations_;
};

}  // namespace plumb::cuda

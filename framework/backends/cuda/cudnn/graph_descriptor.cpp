#include "backends/cuda/cudnn/graph_descriptor.h"

#include <utility>

namespace plumb::cuda {
namespace {

constexpr std::int64_t kAlignment = 16;  ///< bytes; attention_refusal.h keeps anything else away

Descriptor tensor_descriptor(const GraphTensor& tensor) {
  Descriptor made(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, tensor.type);
  made.set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::span<const std::int64_t>(tensor.size));
  made.set(CUDNN_ATTR_TENSOR_STRIDES, std::span<const std::int64_t>(tensor.strides));
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, tensor.number);
  made.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kAlignment);
  made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, tensor.storage == GraphStorage::Intermediate);
  made.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, tensor.storage == GraphStorage::Scalar);
  made.finalize();
  return made;
}

/// The descriptors of a graph's tensors and operations, which must outlive its finalisation.
class Translation {
 public:
  explicit Translation(const OperationGraph& graph) {
    for (const GraphTensor& tensor : graph.tensors()) tensors_.push_back(tensor_descriptor(tensor));
    for (const GraphOperation& operation : graph.operations()) {
      operations_.push_back(translate(operation));
      operations_.back().finalize();
    }
  }

  Descriptor graph() const {
    std::vector<cudnnBackendDescriptor_t> raw;
    for (const Descriptor& operation : operations_) raw.push_back(operation.get());
    Descriptor made(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    made.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, raw);
    made.finalize();
    return made;
  }

 private:
  Descriptor translate(const GraphOperation& operation) {
    switch (operation.kind) {
      case GraphOperationKind::MatrixProduct:
        return matrix_product(operation);
      case GraphOperationKind::Reduction:
        return reduction(operation);
      case GraphOperationKind::Reshape:
        return reshape(operation);
      case GraphOperationKind::Pointwise:
        break;
    }
    return pointwise(operation);
  }

  Descriptor matrix_product(const GraphOperation& operation) {
    Descriptor& kind = kinds_.emplace_back(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    kind.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
    kind.finalize();
    Descriptor made(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    made.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, tensor(operation.x));
    made.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, tensor(operation.b));
    made.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, tensor(operation.y));
    made.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
    return made;
  }

  Descriptor pointwise(const GraphOperation& operation) {
    Descriptor& kind = kinds_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    kind.set(CUDNN_ATTR_POINTWISE_MODE, operation.mode);
    kind.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    if (operation.axis >= 0) kind.set(CUDNN_ATTR_POINTWISE_AXIS, operation.axis);
    kind.finalize();
    Descriptor made(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    made.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
    made.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, tensor(operation.x));
    if (operation.b >= 0) made.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor(operation.b));
    if (operation.mask >= 0) made.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, tensor(operation.mask));
    made.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(operation.y));
    return made;
  }

  Descriptor reduction(const GraphOperation& operation) {
    Descriptor& kind = kinds_.emplace_back(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    kind.set(CUDNN_ATTR_REDUCTION_OPERATOR, operation.reduction);
    kind.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    kind.finalize();
    Descriptor made(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    made.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, tensor(operation.x));
    made.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, tensor(operation.y));
    made.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
    return made;
  }

  Descriptor reshape(const GraphOperation& operation) {
    Descriptor made(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    made.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, tensor(operation.x));
    made.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, tensor(operation.y));
    return made;
  }

  const Descriptor& tensor(int node) const { return tensors_.at(static_cast<std::size_t>(node)); }

  std::vector<Descriptor> tensors_, kinds_, operations_;
};

}  // namespace

Descriptor graph_descriptor(const OperationGraph& graph) { return Translation(graph).graph(); }

}  // namespace plumb::cuda

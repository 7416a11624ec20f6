#include "cudnn/graph_interpreter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace plumb::cuda::test {
namespace {

using Index = GraphSize;

struct View {
  double* data = nullptr;
  GraphSize size{}, strides{};

  /// Along an axis of size 1 the one entry serves all.
  double& at(const Index& index) const {
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < 4; ++axis)
      offset += (size[axis] == 1 ? 0 : index[axis]) * strides[axis];
    return data[offset];
  }
};

template <class Body>
void for_each_index(const GraphSize& size, Body body) {
  for (std::int64_t b = 0; b < size[0]; ++b)
    for (std::int64_t h = 0; h < size[1]; ++h)
      for (std::int64_t row = 0; row < size[2]; ++row)
        for (std::int64_t column = 0; column < size[3]; ++column) body(Index{b, h, row, column});
}

double unary_or_binary(cudnnPointwiseMode_t mode, double x, double b) {
  switch (mode) {
    case CUDNN_POINTWISE_MUL:
      return x * b;
    case CUDNN_POINTWISE_ADD:
      return x + b;
    case CUDNN_POINTWISE_SUB:
      return x - b;
    case CUDNN_POINTWISE_DIV:
      return x / b;
    case CUDNN_POINTWISE_EXP:
      return std::exp(x);
    case CUDNN_POINTWISE_LOG:
      return std::log(x);
    case CUDNN_POINTWISE_CMP_GE:
      return x >= b ? 1 : 0;
    default:
      fail("the interpreter does not know pointwise mode {}", static_cast<int>(mode));
  }
}

class Interpreter {
 public:
  Interpreter(const OperationGraph& graph, const std::map<std::int64_t, double*>& memory) : graph_(graph) {
    for (const GraphTensor& tensor : graph.tensors()) {
      View view{nullptr, tensor.size, tensor.strides};
      if (tensor.storage == GraphStorage::Intermediate) {
        // NaN where nothing is written: such a value must not be used.
        own_.emplace_back(extent(tensor), std::numeric_limits<double>::quiet_NaN());
        view.data = own_.back().data();
      } else {
        view.data = memory.at(tensor.number);
      }
      views_.push_back(view);
    }
  }

  void run() {
    for (const GraphOperation& operation : graph_.operations()) {
      if (operation.kind == GraphOperationKind::MatrixProduct) matrix_product(operation);
      if (operation.kind == GraphOperationKind::Pointwise) pointwise(operation);
      if (operation.kind == GraphOperationKind::Reduction) reduce(operation);
      if (operation.kind == GraphOperationKind::Reshape) view(operation.y).data = view(operation.x).data;
    }
  }

 private:
  static std::size_t extent(const GraphTensor& tensor) {
    std::int64_t last = 0;
    for (std::size_t axis = 0; axis < 4; ++axis) last += (tensor.size[axis] - 1) * tensor.strides[axis];
    return static_cast<std::size_t>(last + 1);
  }
  View& view(int node) { return views_.at(static_cast<std::size_t>(node)); }

  void matrix_product(const GraphOperation& operation) {
    const View a = view(operation.x), b = view(operation.b), c = view(operation.y);
    PLUMB_CHECK(a.size[3] == b.size[2] && c.size[2] == a.size[2] && c.size[3] == b.size[3],
                "a product of sizes that do not fit");
    for_each_index(c.size, [&](const Index& at) {
      double sum = 0;
      for (std::int64_t inner = 0; inner < a.size[3]; ++inner) {
        sum += a.at({at[0], at[1], at[2], inner}) * b.at({at[0], at[1], inner, at[3]});
      }
      c.at(at) = sum;
    });
  }

  void pointwise(const GraphOperation& operation) {
    const View x = view(operation.x), y = view(operation.y);
    for_each_index(y.size, [&](const Index& at) {
      if (operation.mode == CUDNN_POINTWISE_GEN_INDEX) {
        y.at(at) = static_cast<double>(at.at(static_cast<std::size_t>(operation.axis)));
      } else if (operation.mode == CUDNN_POINTWISE_BINARY_SELECT) {
        y.at(at) = view(operation.mask).at(at) != 0 ? x.at(at) : view(operation.b).at(at);
      } else {
        y.at(at) = unary_or_binary(operation.mode, x.at(at), operation.b < 0 ? 0 : view(operation.b).at(at));
      }
    });
  }

  void reduce(const GraphOperation& operation) {
    const View x = view(operation.x), y = view(operation.y);
    const bool largest = operation.reduction == CUDNN_REDUCE_TENSOR_MAX;
    PLUMB_CHECK(largest || operation.reduction == CUDNN_REDUCE_TENSOR_ADD,
                "the interpreter does not know it");
    const double start = largest ? -std::numeric_limits<double>::infinity() : 0;
    for_each_index(y.size, [&](const Index& at) { y.at(at) = start; });
    for_each_index(x.size, [&](const Index& at) {
      y.at(at) = largest ? std::max(y.at(at), x.at(at)) : y.at(at) + x.at(at);
    });
  }

  const OperationGraph& graph_;
  std::vector<std::vector<double>> own_;
  std::vector<View> views_;
};

}  // namespace

void interpret(const OperationGraph& graph, const std::map<std::int64_t, double*>& memory) {
  Interpreter(graph, memory).run();
}

}  // namespace plumb::cuda::test

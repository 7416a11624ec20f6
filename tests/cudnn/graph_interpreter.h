// Runs an operation graph on the host in float64, by what the operations mean in cuDNN's documentation
// (https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-graph-library.html).
#pragma once

#include <map>

#include "backends/cuda/cudnn/operation_graph.h"

namespace plumb::cuda::test {

/// `memory`: where the tensor of each number begins, laid out by its strides; scalars too. Numbers are not
/// rounded. Throws Error for an operation that attention has no use for, and for sizes that do not fit.
void interpret(const OperationGraph& graph, const std::map<std::int64_t, double*>& memory);

}  // namespace plumb::cuda::test

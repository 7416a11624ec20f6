// An operation graph as cuDNN's own descriptor.
#pragma once

#include "backends/cuda/cudnn/descriptor.h"
#include "backends/cuda/cudnn/operation_graph.h"

namespace plumb::cuda {

/// Finalised; needs `graph` no longer.
Descriptor graph_descriptor(const OperationGraph& graph);

}  // namespace plumb::cuda

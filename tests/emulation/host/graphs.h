// Captured graphs and their replay.
#pragma once

#include <cuda_runtime_api.h>

#include "host/capture.h"

namespace plumb::emulation {

cudaGraph_t make_graph(GraphNodes nodes);

}  // namespace plumb::emulation

// Launcher of rotary positions; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/attention.h"

namespace plumb::cuda {

void launch_rotary(cudaStream_t stream, const Rotary& arguments);

}  // namespace plumb::cuda

// Launchers of random.cu; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/random.h"

namespace plumb::cuda {

void launch_dropout(cudaStream_t stream, const Dropout& arguments);
void launch_bernoulli_per_sequence(cudaStream_t stream, const BernoulliPerSequence& arguments);

}  // namespace plumb::cuda

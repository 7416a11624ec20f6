// Launchers of the ops on several residual streams; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/stream_mix.h"

namespace plumb::cuda {

void launch_stream_read(cudaStream_t stream, const StreamRead& arguments);
void launch_stream_write(cudaStream_t stream, const StreamWrite& arguments);

/// Blocks of a backward pass over that many rows; where all rows share their weights, each leaves a partial
/// sum of every entry: (entries, blocks).
std::int64_t stream_mix_blocks(std::int64_t rows);
void launch_stream_read_backward(cudaStream_t stream, const StreamReadBackward& arguments, double* partials);
void launch_stream_write_backward(cudaStream_t stream, const StreamWriteBackward& arguments,
                                  double* partials);

void launch_stream_weights(cudaStream_t stream, const StreamWeights& arguments);
/// Partial sums of the backward pass: (entries + scales, blocks).
std::int64_t stream_weights_blocks(const StreamWeightsBackward& arguments);
void launch_stream_weights_backward(cudaStream_t stream, const StreamWeightsBackward& arguments,
                                    double* partials);

}  // namespace plumb::cuda

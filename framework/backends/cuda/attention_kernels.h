// Attention by own kernels: any shape up to the widest head, any dtype, the same bits in every run.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "backend/ops/attention.h"

namespace plumb::cuda {

// Contracts in backend/ops/attention.h. Heads are at most 256 wide; tokens and the number of tiles of queries
// fit into 31 bits.
void attention_forward_by_kernels(cudaStream_t stream, const AttentionForward& arguments);
void attention_backward_by_kernels(cudaStream_t stream, const AttentionBackward& arguments);
/// After a forward pass, whoever ran it: max_logit and entropy_sums, as far as they are defined.
void attention_statistics_by_kernels(cudaStream_t stream, const AttentionForward& arguments);
std::size_t kernels_forward_workspace(const AttentionForward& arguments);
std::size_t kernels_backward_workspace(const AttentionBackward& arguments);
std::size_t kernels_statistics_workspace(const AttentionForward& arguments);

}  // namespace plumb::cuda

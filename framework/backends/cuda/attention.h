// Launchers of the attention kernels; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/ops/attention.h"

namespace plumb::cuda {

/// No kernel gives a block fewer queries than this, so that many partial results per head are enough.
inline constexpr std::int64_t kSmallestQueryTile = 32;

/// The widths of the instances in 16 bits are spread over sources, which keeps their compile time down. They
/// return the number of blocks, each of which has left its largest logit in largest[block] if that is not
/// null.
int launch_attention_forward_64(cudaStream_t stream, const AttentionForward& arguments, float* largest);
int launch_attention_forward_128(cudaStream_t stream, const AttentionForward& arguments, float* largest);
int launch_attention_forward_256(cudaStream_t stream, const AttentionForward& arguments, float* largest);
int launch_attention_forward_fp32(cudaStream_t stream, const AttentionForward& arguments, float* largest);

/// expected: (B, H, T), from launch_attention_expected.
void launch_attention_backward_64(cudaStream_t stream, const AttentionBackward& arguments,
                                  const float* expected);
void launch_attention_backward_128(cudaStream_t stream, const AttentionBackward& arguments,
                                   const float* expected);
void launch_attention_backward_256(cudaStream_t stream, const AttentionBackward& arguments,
                                   const float* expected);
void launch_attention_backward_fp32(cudaStream_t stream, const AttentionBackward& arguments,
                                    const float* expected);

/// expected (B, H, T) = rowsum(dout * out), which is sum_j P_ij dP_ij, what the softmax subtracts.
void launch_attention_expected(cudaStream_t stream, const AttentionBackward& arguments, float* expected);
/// *max_logit = its maximum with largest[0 .. count); a NaN wins.
void launch_attention_maximum(cudaStream_t stream, const float* largest, std::int64_t count,
                              double* max_logit);

/// sums[h] += over sequences and tiles of partial (B, H, tiles).
void launch_attention_entropy(cudaStream_t stream, const double* partial, const AttentionShape& shape,
                              std::int64_t tiles, double* sums);

/// What a block of the statistics kernels, one for each tile of queries of a head, leaves.
struct AttentionPartials {
  float* largest = nullptr;   ///< largest logit; null = not wanted
  double* entropy = nullptr;  ///< sum over the rows of the tile; null = not wanted
};
/// Returns the number of tiles of a head.
int launch_attention_statistics(cudaStream_t stream, const AttentionForward& arguments,
                                const AttentionPartials& partials);

}  // namespace plumb::cuda

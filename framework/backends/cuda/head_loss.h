// Launchers of head_loss.cu; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "backend/ops/head_loss.h"

namespace plumb::cuda {

/// Elements of a row of logits that are stored side by side; rows begin at multiples of it.
inline constexpr std::int64_t kLogitPack = 8;

/// A chunk of logits as the product left them, without bias and soft cap: rows [first_row, first_row + rows)
/// of h, entries [first, first + count) of the vocabulary. Row r begins at values + r * stride; stride is a
/// multiple of kLogitPack, and what lies behind the `count` entries of a row means nothing.
struct LogitChunk {
  float* values = nullptr;
  std::int64_t stride = 0;
  std::int64_t first_row = 0, rows = 0;
  std::int64_t first = 0, count = 0;
};

/// What has been seen of a row: its softmax is spread over chunks of the vocabulary.
struct RowSoftmax {
  float largest, sum;  ///< of l_v, not NaN; of exp(l_v - largest), NaN when a logit is NaN or +inf
  float target_logit;  ///< NaN until it has been seen
};

/// rows[r] takes in the logits of the chunk; the first chunk of a row starts it.
void launch_absorb_logits(cudaStream_t stream, const HeadLossForward& arguments, const LogitChunk& chunk,
                          RowSoftmax* rows);
/// log_z of every row, and what the rows add to the sums.
void launch_finish_rows(cudaStream_t stream, const HeadLossForward& arguments, const RowSoftmax* rows);

/// Floats of workspace for the bias gradient of a chunk of at most so many rows and entries.
std::int64_t logit_gradient_partials(std::int64_t rows, std::int64_t count);
/// dlogits, in the dtype of h with the chunk's stride, = the gradient of the chunk's logits before bias and
/// soft cap. It may be the chunk's memory when h is fp32. Adds to dbias where that is defined.
void launch_logit_gradient(cudaStream_t stream, const HeadLossBackward& arguments, const LogitChunk& chunk,
                           void* dlogits, float* partials);

/// Rows whose whole vocabulary is in the chunk: rows[r] is made, and the gradients of a row's logits take the
/// place of its logits, from its beginning on: in the dtype of h, so that a row is as far from the next as
/// before. No dbias.
void launch_joined_rows(cudaStream_t stream, const HeadLossBoth& arguments, const LogitChunk& chunk,
                        RowSoftmax* rows);

}  // namespace plumb::cuda

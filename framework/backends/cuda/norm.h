// Launchers of norm_forward.cu and norm_backward.cu; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/norm.h"
#include "backends/cuda/moments.h"
#include "backends/cuda/row_blocks.h"

namespace plumb::cuda {

/// Partial sums of the scalar moments of y, (kMomentScalars, row blocks); null: the kernel takes none.
struct NormMoments {
  RowBlocks row_blocks;
  double* scalars = nullptr;
};

/// y, mean and rstd, and the scalar moments of y for which there are partial sums: of a norm of one group.
void launch_norm_forward(cudaStream_t stream, const NormForward& arguments, const NormMoments& moments);

/// Partial sums of the gradients that are asked for; the others are null.
struct NormPartials {
  RowBlocks row_blocks;
  float *gain = nullptr, *bias = nullptr, *scale = nullptr;  ///< (row blocks, cols); scale: one per feature
  double *alpha = nullptr, *offset = nullptr;                ///< (row blocks * groups)
  double* single_scale = nullptr;  ///< the same: a scale with one trainable factor for all features
  /// (row blocks * groups, sums of a block) for groups whose sums shared memory cannot hold, else null.
  float* wide_sums = nullptr;

  constexpr int arrays() const { return (gain != nullptr) + (bias != nullptr) + (scale != nullptr); }
};
void launch_norm_backward(cudaStream_t stream, const NormBackward& arguments, const NormPartials& partials);

/// The row blocks of a backward pass. With sums: two blocks of threads on every multiprocessor of an H100.
inline RowBlocks norm_row_blocks(const NormBackward& arguments, bool sums) {
  const std::int64_t rows = arguments.dy.rows(), width = arguments.x.cols() / arguments.groups;
  const std::int64_t at_once = team_rows_at_once(width, size_of(arguments.dy.dtype));
  return cut_rows(rows, at_once, sums ? 2 * 132 / arguments.groups : rows);
}

/// Floats that the sums of a block take when the whole block works on one group of `width` entries.
inline std::int64_t wide_sums_of_block(std::int64_t width, int arrays, std::size_t element_bytes) {
  const std::int64_t step = 256 * 16 / static_cast<std::int64_t>(element_bytes);
  return arrays * ((width + step - 1) / step * step);
}
/// What a block of norm_backward leaves of the device's shared memory: its static variables, and what else
/// may be reserved.
inline constexpr std::size_t kSharedReserve = 7 * 1024;

}  // namespace plumb::cuda

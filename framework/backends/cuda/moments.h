// Moments: planned and launched alike by the op itself and by the ops that emit moments of what they write.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/moments.h"
#include "backends/cuda/row_blocks.h"

namespace plumb::cuda {

class WorkspaceCarver;

/// Partial sums of the moments of one tensor, in a workspace.
struct MomentsScratch {
  RowBlocks row_blocks;
  double* scalars = nullptr;         ///< (kMomentScalars, row blocks)
  double* column_sums = nullptr;     ///< (row blocks, cols), where column moments are wanted
  double* column_squares = nullptr;  ///< likewise
};
/// Takes nothing when the view is not defined.
MomentsScratch take_moments_scratch(WorkspaceCarver& carver, const MomentsView& view, std::int64_t rows,
                                    std::int64_t cols);

/// Adds the moments of x (rows, cols) to the view: one pass over x. Nothing when the view is not defined.
void launch_moments(cudaStream_t stream, const Tensor& x, const MomentsView& view,
                    const MomentsScratch& scratch);

}  // namespace plumb::cuda

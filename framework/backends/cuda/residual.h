// Launchers of residual.cu; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/residual.h"
#include "backends/cuda/moments.h"
#include "backends/cuda/row_blocks.h"

namespace plumb::cuda {

inline WalkShape residual_shape(const Tensor& rows) {
  return {rows.rows(), rows.cols(), size_of(rows.dtype)};
}

/// Partial sums of the knobs' gradients: (row blocks, cols) of a knob per feature, one for each block of
/// threads of a single knob, null where no gradient is wanted.
struct KnobPartials {
  float *a = nullptr, *b = nullptr, *e = nullptr, *p = nullptr;
};

/// What the forward kernel leaves of the rows that it reads and writes; null where it is not wanted.
struct ResidualPartials {
  RowBlocks row_blocks;
  MomentsScratch branch, stream;
  double* alignment = nullptr;  ///< (kAlignmentScalars, row blocks)
};

/// `out` only.
void launch_residual_forward(cudaStream_t stream, const ResidualForward& arguments);
/// `out`, and the scalars of the views that are defined. Column moments have launches of their own.
void launch_residual_observed(cudaStream_t stream, const ResidualForward& arguments,
                              const ResidualPartials& partials);
void launch_residual_backward(cudaStream_t stream, const ResidualBackward& arguments,
                              const KnobPartials& partials);

}  // namespace plumb::cuda

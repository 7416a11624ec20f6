// Moments: planned and launched alike by the op itself and by the ops that emit moments of what they write.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/alignment.h"
#include "backend/ops/moments.h"
#include "backends/cuda/row_blocks.h"

namespace plumb::cuda {

class WorkspaceCarver;

/// Partial sums of the moments of one tensor, in a workspace.
struct MomentsScratch {
  RowBlocks row_blocks;              ///< of a pass of its own over the tensor
  double* scalars = nullptr;         ///< (kMomentScalars, blocks of the kernel that leaves them)
  double* column_sums = nullptr;     ///< (row blocks, cols), where column moments are wanted
  double* column_squares = nullptr;  ///< likewise
};
/// Takes nothing when the view is not defined. `blocks`: of the kernel that leaves the scalars; 0: those of
/// launch_moments.
MomentsScratch take_moments_scratch(WorkspaceCarver& carver, const MomentsView& view, std::int64_t rows,
                                    std::int64_t cols, std::int64_t blocks = 0);

/// Adds the moments of x (rows, cols) to the view: one pass over x. Nothing when the view is not defined.
void launch_moments(cudaStream_t stream, const Tensor& x, const MomentsView& view,
                    const MomentsScratch& scratch);
/// Adds the column moments alone, where they are wanted: one pass over x.
void launch_column_moments(cudaStream_t stream, const Tensor& x, const MomentsView& view,
                           const MomentsScratch& scratch);

/// Partial sums (scalars, blocks) of one view, and the view's scalars; those from first_maximum on are
/// maxima.
struct ScalarSum {
  const double* partials = nullptr;
  double* out = nullptr;
  int scalars = 0, first_maximum = 0;
};
/// Up to four of them in one launch, all from a kernel of that many blocks.
struct ScalarSums {
  static constexpr int kMost = 4;
  ScalarSum sums[kMost];
  int count = 0;
  std::int64_t blocks = 0;

  explicit ScalarSums(std::int64_t blocks_in) : blocks(blocks_in) {}
  void add(const double* partials, const Tensor& scalars, int first_maximum) {
    sums[count++] = {partials, static_cast<double*>(scalars.data), static_cast<int>(scalars.elements()),
                     first_maximum};
  }
  /// Nothing when the view is not defined.
  void add(const double* partials, const MomentsView& view) {
    if (view.defined()) add(partials, view.scalars, kMomentMaxAbs);
  }
  void add(const double* partials, const AlignmentView& view) {
    if (view.defined()) add(partials, view.scalars, kAlignmentScalars);
  }
};
/// Adds up the blocks in a fixed order, and that to what the views hold.
void launch_scalar_sums(cudaStream_t stream, const ScalarSums& all);

}  // namespace plumb::cuda

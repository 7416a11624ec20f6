#include "backends/cuda/moments.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {

MomentsScratch take_moments_scratch(WorkspaceCarver& carver, const MomentsView& view, std::int64_t rows,
                                    std::int64_t cols, std::int64_t blocks) {
  MomentsScratch scratch;
  if (!view.defined() || rows == 0) return scratch;
  constexpr std::int64_t kRowsAtOnce = 32, kBlocks = 2 * 132;  // two on every multiprocessor of an H100
  scratch.row_blocks = cut_rows(rows, kRowsAtOnce, kBlocks);
  scratch.scalars = carver.take<double>(kMomentScalars * (blocks > 0 ? blocks : scratch.row_blocks.count));
  if (!view.column_sum.defined()) return scratch;
  scratch.column_sums = carver.take<double>(scratch.row_blocks.count * cols);
  scratch.column_squares = carver.take<double>(scratch.row_blocks.count * cols);
  return scratch;
}

void CudaMoments::moments(Stream& stream, const MomentsArguments& arguments) const {
  const char* op = "moments";
  const Tensor& x = arguments.x;
  PLUMB_CHECK(arguments.moments.defined(), "{}: there is no view to add to", op);
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_moments(op, arguments.moments, x.cols());
  WorkspaceCarver carver(arguments.workspace);
  const MomentsScratch scratch = take_moments_scratch(carver, arguments.moments, x.rows(), x.cols());
  launch_moments(handle_of(stream), x, arguments.moments, scratch);
}

std::size_t CudaMoments::moments_workspace(const MomentsArguments& arguments) const {
  WorkspaceCarver carver;
  take_moments_scratch(carver, arguments.moments, arguments.x.rows(), arguments.x.cols());
  return carver.bytes();
}

}  // namespace plumb::cuda

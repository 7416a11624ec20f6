#include "backends/cuda/residual.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

template <class Arguments>
void require_knobs(const char* op, const Arguments& arguments, std::int64_t rows, std::int64_t cols) {
  const std::int64_t rows_per_sequence = arguments.rows_per_sequence;
  PLUMB_CHECK(rows_per_sequence >= 1, "{}: rows_per_sequence is {}", op, rows_per_sequence);
  require_coefficient(op, "a", arguments.a, rows, cols, rows_per_sequence);
  require_coefficient(op, "b", arguments.b, rows, cols, rows_per_sequence);
  require_coefficient(op, "e", arguments.e, rows, cols, rows_per_sequence);
  require_coefficient(op, "p", arguments.p, rows, cols, rows_per_sequence);
  PLUMB_CHECK(!arguments.tie_skip || arguments.a.is_one(),
              "{}: tie_skip makes a = 1 - b, so a must be the constant 1", op);
  PLUMB_CHECK(!arguments.tie_skip || !(arguments.a.stop_gradient || arguments.b.stop_gradient),
              "{}: a tied skip cannot stop the gradient", op);
}

void require_gradients(const char* op, const ResidualBackward& arguments) {
  require_coefficient_gradient(op, "da", arguments.a, arguments.da);
  require_coefficient_gradient(op, "db", arguments.b, arguments.db);
  require_coefficient_gradient(op, "de", arguments.e, arguments.de);
  require_coefficient_gradient(op, "dp", arguments.p, arguments.dp);
  const bool da = arguments.da.feature.defined(), db = arguments.db.feature.defined();
  const bool de = arguments.de.feature.defined(), dp = arguments.dp.feature.defined();
  PLUMB_CHECK(arguments.x.defined() || !(da || dp || (db && arguments.tie_skip)),
              "{}: da, dp and a tied db need x", op);
  PLUMB_CHECK(arguments.z.defined() || !(db || dp), "{}: db and dp need z", op);
  PLUMB_CHECK(arguments.x_block.defined() || !(de || (dp && arguments.dx_block.defined())),
              "{}: de and dp need x_block", op);
}

bool is_observed(const ResidualForward& arguments) {
  return arguments.branch_moments.defined() || arguments.stream_moments.defined() ||
         arguments.alignment.defined();
}

ResidualPartials take_forward_partials(WorkspaceCarver& carver, const ResidualForward& arguments) {
  const Tensor& x = arguments.x;
  const std::int64_t rows = x.rows(), cols = x.cols();
  ResidualPartials partials;
  partials.row_blocks = observed_row_blocks(rows, cols, size_of(x.dtype));
  const std::int64_t blocks = partials.row_blocks.count;
  partials.branch = take_moments_scratch(carver, arguments.branch_moments, rows, cols, blocks);
  partials.stream = take_moments_scratch(carver, arguments.stream_moments, rows, cols, blocks);
  if (arguments.alignment.defined()) partials.alignment = carver.take<double>(kAlignmentScalars * blocks);
  return partials;
}

KnobPartials take_partials(WorkspaceCarver& carver, const ResidualBackward& arguments) {
  const WalkShape shape = residual_shape(arguments.dout);
  const auto take = [&](const CoefficientGradient& gradient) -> float* {
    if (!gradient.feature.defined()) return nullptr;
    const bool single = gradient.feature.elements() == 1;
    return carver.take<float>(single ? shape.blocks() : shape.row_blocks.count * shape.cols);
  };
  KnobPartials partials;
  partials.a = take(arguments.da);
  partials.b = take(arguments.db);
  partials.e = take(arguments.de);
  partials.p = take(arguments.dp);
  return partials;
}

}  // namespace

void CudaResidual::residual_forward(Stream& stream, const ResidualForward& arguments) const {
  const char* op = "residual_forward";
  const Tensor& x = arguments.x;
  const std::int64_t rows = x.rows(), cols = x.cols();
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, rows, cols);
  require_rows(op, "z", arguments.z, x.dtype, rows, cols);
  optional_rows(op, "x_block", arguments.x_block, x.dtype, rows, cols);
  require_rows(op, "out", arguments.out, x.dtype, rows, cols);
  require_knobs(op, arguments, rows, cols);
  require_moments(op, arguments.branch_moments, cols);
  require_moments(op, arguments.stream_moments, cols);
  optional_vector(op, "alignment.scalars", arguments.alignment.scalars, DType::Float64, kAlignmentScalars);
  if (x.elements() == 0) return;
  const cudaStream_t handle = handle_of(stream);
  if (!is_observed(arguments)) return launch_residual_forward(handle, arguments);
  WorkspaceCarver carver(arguments.workspace);
  const ResidualPartials partials = take_forward_partials(carver, arguments);
  launch_column_moments(handle, arguments.z, arguments.branch_moments, partials.branch);  // out may be z
  launch_residual_observed(handle, arguments, partials);
  launch_column_moments(handle, arguments.out, arguments.stream_moments, partials.stream);
}

void CudaResidual::residual_backward(Stream& stream, const ResidualBackward& arguments) const {
  const char* op = "residual_backward";
  const Tensor& dout = arguments.dout;
  const std::int64_t rows = dout.rows(), cols = dout.cols();
  require_compute(op, dout.dtype);
  optional_rows(op, "x", arguments.x, dout.dtype, rows, cols);
  optional_rows(op, "z", arguments.z, dout.dtype, rows, cols);
  optional_rows(op, "x_block", arguments.x_block, dout.dtype, rows, cols);
  require_rows(op, "dout", dout, dout.dtype, rows, cols);
  require_rows(op, "dx", arguments.dx, dout.dtype, rows, cols);
  require_rows(op, "dz", arguments.dz, dout.dtype, rows, cols);
  optional_rows(op, "dx_block", arguments.dx_block, dout.dtype, rows, cols);
  require_knobs(op, arguments, rows, cols);
  require_gradients(op, arguments);
  if (dout.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_residual_backward(handle_of(stream), arguments, take_partials(carver, arguments));
}

std::size_t CudaResidual::residual_forward_workspace(const ResidualForward& arguments) const {
  WorkspaceCarver carver;
  take_forward_partials(carver, arguments);
  return carver.bytes();
}

std::size_t CudaResidual::residual_backward_workspace(const ResidualBackward& arguments) const {
  WorkspaceCarver carver;
  take_partials(carver, arguments);
  return carver.bytes();
}

}  // namespace plumb::cuda

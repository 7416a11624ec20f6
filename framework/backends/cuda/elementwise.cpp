#include "backends/cuda/elementwise.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "backends/cuda/tensor_pieces.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

void check_pair(const char* op, const Tensor& x, const Tensor& y) {
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "y", y, y.dtype, x.rows(), x.cols());
}

void check_groups(const char* op, std::int64_t groups, std::int64_t cols) {
  PLUMB_CHECK(groups >= 1 && cols % groups == 0, "{}: {} columns do not split into {} groups", op, cols,
              groups);
}

double* square_partials(std::span<const Tensor> tensors, WorkspaceCarver& carver) {
  std::int64_t pieces = 0;
  for (const Tensor& tensor : tensors) pieces += pieces_of(tensor.elements());
  return carver.take<double>(pieces);
}

std::int64_t* hash_partials(std::span<const Tensor> tensors, WorkspaceCarver& carver) {
  std::int64_t pieces = 0;
  for (const Tensor& tensor : tensors) pieces += pieces_of(hashed_words_of(tensor));
  return carver.take<std::int64_t>(pieces);
}

double* gain_partials(const GroupGainBackward& arguments, WorkspaceCarver& carver) {
  if (!arguments.dgain.defined() || arguments.dy.elements() == 0) return nullptr;
  return carver.take<double>(arguments.groups * group_gain_row_blocks(arguments));
}

double* bias_partials(const ScalarBiasBackward& arguments, WorkspaceCarver& carver) {
  return carver.take<double>(scalar_bias_blocks(arguments));
}

}  // namespace

void CudaElementwise::fill(Stream& stream, const Tensor& x, double value) const {
  require_rows("fill", "x", x, x.dtype, x.rows(), x.cols());
  if (x.elements() > 0) launch_fill(handle_of(stream), x, value);
}

void CudaElementwise::fill_all(Stream& stream, std::span<const Tensor> tensors, double value) const {
  for (const Tensor& tensor : tensors) {
    if (tensor.dtype != DType::Float32) return ElementwiseOps::fill_all(stream, tensors, value);
    require_vector("fill_all", "tensor", tensor, DType::Float32, tensor.elements());
  }
  launch_fill_all(handle_of(stream), tensors, static_cast<float>(value));
}

void CudaElementwise::copy(Stream& stream, const Tensor& x, const Tensor& y) const {
  check_pair("copy", x, y);
  if (x.elements() > 0) launch_copy(handle_of(stream), x, y);
}

void CudaElementwise::add(Stream& stream, const Tensor& x, const Tensor& y) const {
  check_pair("add", x, y);
  if (x.elements() > 0) launch_add(handle_of(stream), x, y);
}

void CudaElementwise::sum_of_squares(Stream& stream, const SumOfSquares& arguments,
                                     std::span<const Tensor> tensors) const {
  const char* op = "sum_of_squares";
  require_vector(op, "squares", arguments.squares, DType::Float64, static_cast<std::int64_t>(tensors.size()));
  for (const Tensor& tensor : tensors) {
    require_vector(op, "tensor", tensor, tensor.dtype, tensor.elements());
    PLUMB_CHECK(tensor.dtype != DType::Int64 && tensor.dtype != DType::Int32, "{}: a tensor is {}", op,
                name_of(tensor.dtype));
  }
  WorkspaceCarver carver(arguments.workspace);
  launch_sum_of_squares(handle_of(stream), arguments, tensors, square_partials(tensors, carver));
}

std::size_t CudaElementwise::sum_of_squares_workspace(std::span<const Tensor> tensors) const {
  WorkspaceCarver carver;
  square_partials(tensors, carver);
  return carver.bytes();
}

void CudaElementwise::hash(Stream& stream, const HashTensors& arguments,
                           std::span<const Tensor> tensors) const {
  const char* op = "hash";
  require_vector(op, "hashes", arguments.hashes, DType::Int64, static_cast<std::int64_t>(tensors.size()));
  for (const Tensor& tensor : tensors) require_vector(op, "tensor", tensor, tensor.dtype, tensor.elements());
  WorkspaceCarver carver(arguments.workspace);
  launch_hash(handle_of(stream), arguments, tensors, hash_partials(tensors, carver));
}

std::size_t CudaElementwise::hash_workspace(std::span<const Tensor> tensors) const {
  WorkspaceCarver carver;
  hash_partials(tensors, carver);
  return carver.bytes();
}

void CudaElementwise::group_gain_forward(Stream& stream, const GroupGain& arguments) const {
  const char* op = "group_gain_forward";
  const Tensor& x = arguments.x;
  check_groups(op, arguments.groups, x.cols());
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "y", arguments.y, x.dtype, x.rows(), x.cols());
  require_vector(op, "gain", arguments.gain, DType::Float32, arguments.groups);
  if (x.elements() > 0) launch_group_gain_forward(handle_of(stream), arguments);
}

void CudaElementwise::group_gain_backward(Stream& stream, const GroupGainBackward& arguments) const {
  const char* op = "group_gain_backward";
  const Tensor& dy = arguments.dy;
  check_groups(op, arguments.groups, dy.cols());
  require_compute(op, dy.dtype);
  require_rows(op, "dy", dy, dy.dtype, dy.rows(), dy.cols());
  require_rows(op, "x", arguments.x, dy.dtype, dy.rows(), dy.cols());
  require_rows(op, "dx", arguments.dx, dy.dtype, dy.rows(), dy.cols());
  require_vector(op, "gain", arguments.gain, DType::Float32, arguments.groups);
  optional_vector(op, "dgain", arguments.dgain, DType::Float32, arguments.groups);
  if (dy.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_group_gain_backward(handle_of(stream), arguments, gain_partials(arguments, carver));
}

std::size_t CudaElementwise::group_gain_backward_workspace(const GroupGainBackward& arguments) const {
  WorkspaceCarver carver;
  gain_partials(arguments, carver);
  return carver.bytes();
}

void CudaElementwise::scalar_bias_forward(Stream& stream, const ScalarBias& arguments) const {
  const char* op = "scalar_bias_forward";
  const Tensor& x = arguments.x;
  require_compute(op, x.dtype);
  require_vector(op, "x", x, x.dtype, x.elements());
  require_rows(op, "y", arguments.y, x.dtype, x.rows(), x.cols());
  require_vector(op, "bias", arguments.bias, DType::Float32, 1);
  if (x.elements() > 0) launch_scalar_bias_forward(handle_of(stream), arguments);
}

void CudaElementwise::scalar_bias_backward(Stream& stream, const ScalarBiasBackward& arguments) const {
  const char* op = "scalar_bias_backward";
  const Tensor& dy = arguments.dy;
  require_compute(op, dy.dtype);
  require_rows(op, "dy", dy, dy.dtype, dy.rows(), dy.cols());
  require_vector(op, "dbias", arguments.dbias, DType::Float32, 1);
  if (dy.elements() == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  launch_scalar_bias_backward(handle_of(stream), arguments, bias_partials(arguments, carver));
}

std::size_t CudaElementwise::scalar_bias_backward_workspace(const ScalarBiasBackward& arguments) const {
  WorkspaceCarver carver;
  bias_partials(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cuda

#include <cstring>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "backends/reference/scalar_access.h"
#include "core/error.h"
#include "core/word_hash.h"

namespace plumb::reference {
namespace {

template <class T>
double sum_of_squares_of(const Tensor& tensor) {
  const Vector<T> x("sum_of_squares", "tensor", tensor, tensor.elements());
  double sum = 0;
  for (std::int64_t i = 0; i < tensor.elements(); ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

template <class T>
void gain_forward(const GroupGain& arguments) {
  const char* op = "group_gain_forward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const std::int64_t groups = arguments.groups, width = cols / groups;
  const Rows<T> x(op, "x", arguments.x, rows, groups * width), y(op, "y", arguments.y, rows, cols);
  const Vector<T> gain(op, "gain", arguments.gain, groups);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; ++i)
      y[r][i] = static_cast<T>(static_cast<double>(gain[i / width]) * x[r][i]);
}

template <class T>
void gain_backward(const GroupGainBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "group_gain_backward";
  const std::int64_t rows = arguments.dy.rows(), cols = arguments.dy.cols();
  const std::int64_t groups = arguments.groups, width = cols / groups;
  const Rows<T> x(op, "x", arguments.x, rows, groups * width);
  const Rows<T> dy(op, "dy", arguments.dy, rows, cols), dx(op, "dx", arguments.dx, rows, cols);
  const Vector<T> gain(op, "gain", arguments.gain, groups);
  const auto dgain = Vector<T>::optional(op, "dgain", arguments.dgain, groups);
  double* dgain_sums = Scratch(op, arguments.workspace, workspace_bytes).take(dgain ? groups : 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < cols; ++i) {
      const double upstream = dy[r][i];  // read before dx, which may be the same view
      if (dgain) dgain_sums[i / width] += upstream * x[r][i];
      dx[r][i] = static_cast<T>(upstream * gain[i / width]);
    }
  }
  if (dgain) dgain.add(dgain_sums);
}

template <class T>
void bias_forward(const ScalarBias& arguments) {
  const char* op = "scalar_bias_forward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  require_vector(op, "x", arguments.x, dtype_of<T>, rows * cols);
  const Rows<T> x(op, "x", arguments.x, rows, cols), y(op, "y", arguments.y, rows, cols);
  const Vector<T> bias(op, "bias", arguments.bias, 1);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; ++i) y[r][i] = static_cast<T>(double{x[r][i]} + bias[0]);
}

template <class T>
void bias_backward(const ScalarBiasBackward& arguments) {
  const char* op = "scalar_bias_backward";
  const std::int64_t rows = arguments.dy.rows(), cols = arguments.dy.cols();
  const Rows<T> dy(op, "dy", arguments.dy, rows, cols);
  const Vector<T> dbias(op, "dbias", arguments.dbias, 1);
  double sum = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; ++i) sum += dy[r][i];
  dbias.add(&sum);
}

void check_groups(const char* op, std::int64_t groups, std::int64_t cols) {
  PLUMB_CHECK(groups >= 1 && cols % groups == 0, "{}: {} columns do not split into {} groups", op, cols,
              groups);
}

}  // namespace

void ReferenceElementwise::fill(Stream&, const Tensor& x, double value) const {
  require_rows("fill", "x", x, x.dtype, x.rows(), x.cols());
  for (std::int64_t r = 0; r < x.rows(); ++r)
    for (std::int64_t i = 0; i < x.cols(); ++i) store(x, r, i, value);
}

void ReferenceElementwise::copy(Stream&, const Tensor& x, const Tensor& y) const {
  require_rows("copy", "x", x, x.dtype, x.rows(), x.cols());
  require_rows("copy", "y", y, y.dtype, x.rows(), x.cols());
  const auto row_bytes = static_cast<std::size_t>(x.cols()) * size_of(x.dtype);
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    if (x.dtype == y.dtype)  // bit for bit: a large integer does not pass through a double
      std::memmove(y.row_range(r, 1).data, x.row_range(r, 1).data, row_bytes);
    else
      for (std::int64_t i = 0; i < x.cols(); ++i) store(y, r, i, load(x, r, i));
  }
}

void ReferenceElementwise::add(Stream&, const Tensor& x, const Tensor& y) const {
  require_rows("add", "x", x, x.dtype, x.rows(), x.cols());
  require_rows("add", "y", y, y.dtype, x.rows(), x.cols());
  for (std::int64_t r = 0; r < x.rows(); ++r)
    for (std::int64_t i = 0; i < x.cols(); ++i) store(y, r, i, load(y, r, i) + load(x, r, i));
}

void ReferenceElementwise::sum_of_squares(Stream&, const SumOfSquares& arguments,
                                          std::span<const Tensor> tensors) const {
  const Vector<double> results("sum_of_squares", "squares", arguments.squares,
                               static_cast<std::int64_t>(tensors.size()));
  for (std::size_t n = 0; n < tensors.size(); ++n) {
    with_scalar("sum_of_squares", tensors[n].dtype, [&](auto scalar) {
      double& result = results[static_cast<std::int64_t>(n)];
      result = (arguments.accumulate ? result : 0.0) + sum_of_squares_of<decltype(scalar)>(tensors[n]);
    });
  }
}

std::size_t ReferenceElementwise::sum_of_squares_workspace(std::span<const Tensor>) const { return 0; }

void ReferenceElementwise::hash(Stream&, const HashTensors& arguments,
                                std::span<const Tensor> tensors) const {
  const auto count = static_cast<std::int64_t>(tensors.size());
  require_vector("hash", "hashes", arguments.hashes, DType::Int64, count);
  for (std::int64_t n = 0; n < count; ++n) {
    const Tensor& tensor = tensors[static_cast<std::size_t>(n)];
    require_vector("hash", "tensor", tensor, tensor.dtype, tensor.elements());
    const auto* bytes = static_cast<const unsigned char*>(tensor.data);
    const std::size_t width = size_of(tensor.dtype) == 2 ? 2 : 4;
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < tensor.bytes() / width; ++i) {
      std::uint32_t word = 0;
      std::memcpy(&word, bytes + i * width, width);
      sum += hash_of_word(word, i);
    }
    arguments.hashes.as<std::int64_t>()[n] = static_cast<std::int64_t>(sum);
  }
}

std::size_t ReferenceElementwise::hash_workspace(std::span<const Tensor>) const { return 0; }

void ReferenceElementwise::group_gain_forward(Stream&, const GroupGain& arguments) const {
  check_groups("group_gain_forward", arguments.groups, arguments.x.cols());
  with_scalar("group_gain_forward", arguments.x.dtype,
              [&](auto scalar) { gain_forward<decltype(scalar)>(arguments); });
}

void ReferenceElementwise::group_gain_backward(Stream&, const GroupGainBackward& arguments) const {
  check_groups("group_gain_backward", arguments.groups, arguments.dy.cols());
  with_scalar("group_gain_backward", arguments.dy.dtype, [&](auto scalar) {
    gain_backward<decltype(scalar)>(arguments, group_gain_backward_workspace(arguments));
  });
}

std::size_t ReferenceElementwise::group_gain_backward_workspace(const GroupGainBackward& arguments) const {
  return scratch_bytes(arguments.dgain.elements());
}

void ReferenceElementwise::scalar_bias_forward(Stream&, const ScalarBias& arguments) const {
  with_scalar("scalar_bias_forward", arguments.x.dtype,
              [&](auto scalar) { bias_forward<decltype(scalar)>(arguments); });
}

void ReferenceElementwise::scalar_bias_backward(Stream&, const ScalarBiasBackward& arguments) const {
  with_scalar("scalar_bias_backward", arguments.dy.dtype,
              [&](auto scalar) { bias_backward<decltype(scalar)>(arguments); });
}

std::size_t ReferenceElementwise::scalar_bias_backward_workspace(const ScalarBiasBackward&) const {
  return 0;
}

}  // namespace plumb::reference

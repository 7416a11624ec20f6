#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"

namespace plumb::reference {
namespace {

template <class T>
void forward(const LinearForward& arguments) {
  const char* op = "linear_forward";
  const std::int64_t rows = arguments.x.rows(), inputs = arguments.x.cols(), outputs = arguments.y.cols();
  const Rows<T> x(op, "x", arguments.x, rows, inputs);
  const Rows<T> weight(op, "weight", arguments.weight, outputs, inputs);
  const auto bias = Vector<T>::optional(op, "bias", arguments.bias, outputs);
  const Rows<T> y(op, "y", arguments.y, rows, outputs);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t n = 0; n < outputs; ++n) {
      double sum = bias ? bias[n] : 0.0;
      for (std::int64_t k = 0; k < inputs; ++k) sum += static_cast<double>(x[r][k]) * weight[n][k];
      y[r][n] = static_cast<T>(sum);
    }
  }
}

template <class T>
void backward_input(const LinearBackwardInput& arguments) {
  const char* op = "linear_backward_input";
  const std::int64_t rows = arguments.dx.rows(), inputs = arguments.dx.cols(), outputs = arguments.dy.cols();
  const Rows<T> dy(op, "dy", arguments.dy, rows, outputs);
  const Rows<T> weight(op, "weight", arguments.weight, outputs, inputs);
  const Rows<T> dx(op, "dx", arguments.dx, rows, inputs);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t k = 0; k < inputs; ++k) {
      double sum = arguments.accumulate ? dx[r][k] : 0.0;
      for (std::int64_t n = 0; n < outputs; ++n) sum += static_cast<double>(dy[r][n]) * weight[n][k];
      dx[r][k] = static_cast<T>(sum);
    }
  }
}

template <class T>
void backward_weight(const LinearBackwardWeight& arguments) {
  const char* op = "linear_backward_weight";
  const std::int64_t rows = arguments.x.rows(), inputs = arguments.x.cols(), outputs = arguments.dy.cols();
  const Rows<T> dy(op, "dy", arguments.dy, rows, outputs);
  const Rows<T> x(op, "x", arguments.x, rows, inputs);
  const Rows<T> dweight(op, "dweight", arguments.dweight, outputs, inputs);
  const auto dbias = Vector<T>::optional(op, "dbias", arguments.dbias, outputs);
  for (std::int64_t n = 0; n < outputs; ++n) {
    for (std::int64_t k = 0; k < inputs; ++k) {
      double sum = arguments.accumulate ? dweight[n][k] : 0.0;
      for (std::int64_t r = 0; r < rows; ++r) sum += static_cast<double>(dy[r][n]) * x[r][k];
      dweight[n][k] = static_cast<T>(sum);
    }
    if (!dbias) continue;
    double sum = dbias[n];
    for (std::int64_t r = 0; r < rows; ++r) sum += dy[r][n];
    dbias[n] = static_cast<T>(sum);
  }
}

}  // namespace

void ReferenceLinear::linear_forward(Stream&, const LinearForward& arguments) const {
  with_scalar("linear_forward", arguments.x.dtype,
              [&](auto scalar) { forward<decltype(scalar)>(arguments); });
}

void ReferenceLinear::linear_backward_input(Stream&, const LinearBackwardInput& arguments) const {
  with_scalar("linear_backward_input", arguments.dy.dtype,
              [&](auto scalar) { backward_input<decltype(scalar)>(arguments); });
}

void ReferenceLinear::linear_backward_weight(Stream&, const LinearBackwardWeight& arguments) const {
  with_scalar("linear_backward_weight", arguments.dy.dtype,
              [&](auto scalar) { backward_weight<decltype(scalar)>(arguments); });
}

std::size_t ReferenceLinear::linear_forward_workspace(const LinearForward&) const { return 0; }
std::size_t ReferenceLinear::linear_backward_input_workspace(const LinearBackwardInput&) const { return 0; }
std::size_t ReferenceLinear::linear_backward_weight_workspace(const LinearBackwardWeight&) const { return 0; }

}  // namespace plumb::reference

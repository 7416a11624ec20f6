#include <cmath>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "backends/reference/scalar_access.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

struct ValueAndSlope {
  double value, slope;
};

ValueAndSlope evaluate(const char* op, CoefficientMapKind kind, double x) {
  switch (kind) {
    case CoefficientMapKind::Absolute:
      return {std::abs(x), x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0};
    case CoefficientMapKind::OneMinusSilu: {
      const double sigmoid = 1 / (1 + std::exp(-x));
      return {1 - x * sigmoid, -sigmoid * (1 + x * (1 - sigmoid))};
    }
  }
  fail("{}: unknown coefficient map {}", op, static_cast<int>(kind));
}

template <class T>
void map_forward(const CoefficientMap& arguments) {
  const char* op = "coefficient_map_forward";
  const std::int64_t n = arguments.x.elements();
  const Vector<T> x(op, "x", arguments.x, n), y(op, "y", arguments.y, n);
  PLUMB_CHECK(arguments.y.data != arguments.x.data, "{}: y overlaps x", op);
  for (std::int64_t i = 0; i < n; ++i)
    y[i] = static_cast<T>(evaluate(op, arguments.kind, double{x[i]}).value);
}

template <class T>
void map_backward(const CoefficientMapBackward& arguments) {
  const char* op = "coefficient_map_backward";
  const std::int64_t n = arguments.x.elements();
  const Vector<T> x(op, "x", arguments.x, n), dy(op, "dy", arguments.dy, n), dx(op, "dx", arguments.dx, n);
  for (std::int64_t i = 0; i < n; ++i)
    dx[i] = static_cast<T>(dx[i] + dy[i] * evaluate(op, arguments.kind, double{x[i]}).slope);
}

/// scalar * gain of a row.
template <class T>
class RowFactors {
 public:
  template <class Arguments>
  RowFactors(const char* op, const Arguments& arguments, std::int64_t rows)
      : scalar_(Vector<T>::optional(op, "scalar", arguments.scalar, 1)),
        gain_(Vector<T>::optional(op, "gain", arguments.gain, arguments.gain.elements() == 1 ? 1 : rows)),
        single_(arguments.gain.elements() == 1) {}

  double scalar() const { return scalar_ ? double{scalar_[0]} : 1.0; }
  double of(std::int64_t r) const { return scalar() * (gain_ ? double{gain_[gain_index(r)]} : 1.0); }
  std::int64_t gain_index(std::int64_t r) const { return single_ ? 0 : r; }

 private:
  Vector<T> scalar_, gain_;
  bool single_;
};

template <class T>
void gain_forward(const RowGain& arguments) {
  const char* op = "row_gain_forward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols), y(op, "y", arguments.y, rows, cols);
  const RowFactors<T> factors(op, arguments, rows);
  PLUMB_CHECK(arguments.y.data != arguments.x.data, "{}: y overlaps x", op);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; ++i) y[r][i] = static_cast<T>(factors.of(r) * x[r][i]);
}

template <class T>
void gain_backward(const RowGainBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "row_gain_backward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const std::int64_t gains = arguments.gain.elements();
  const Rows<T> x(op, "x", arguments.x, rows, cols), dy(op, "dy", arguments.dy, rows, cols);
  const Rows<T> dx(op, "dx", arguments.dx, rows, cols);
  const RowFactors<T> factors(op, arguments, rows);
  PLUMB_CHECK(arguments.gain.defined() || !arguments.dgain.defined(), "{}: dgain needs a gain", op);
  PLUMB_CHECK(arguments.dx.data != arguments.dy.data, "{}: dx overlaps dy", op);
  const auto dgain = Vector<T>::optional(op, "dgain", arguments.dgain, gains);
  double* sums = Scratch(op, arguments.workspace, workspace_bytes).take(dgain ? gains : 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < cols; ++i) {
      if (dgain) sums[factors.gain_index(r)] += factors.scalar() * dy[r][i] * x[r][i];
      dx[r][i] = static_cast<T>(dx[r][i] + factors.of(r) * dy[r][i]);
    }
  }
  if (dgain) dgain.add(sums);
}

/// Row `index`, or column `index`, of a weight: `count` entries.
template <class T>
void normalize_sphere(const Rows<T>& value, const Tensor& copy, std::int64_t index, bool column,
                      std::int64_t count) {
  const auto at = [&](std::int64_t i) -> T& { return column ? value[i][index] : value[index][i]; };
  double square = 0;
  for (std::int64_t i = 0; i < count; ++i) square += static_cast<double>(at(i)) * at(i);
  const double factor = square == 0 ? 1 : 1 / std::sqrt(square);
  for (std::int64_t i = 0; i < count; ++i) {
    at(i) = static_cast<T>(factor * at(i));
    if (copy.defined()) store(copy, column ? i : index, column ? index : i, double{at(i)});
  }
}

template <class T>
void normalize(const char* op, const SphereWeight& weight, bool skip) {
  const Tensor& copy = weight.compute_copy;
  const std::int64_t rows = weight.value.rows(), cols = weight.value.cols();
  const Rows<T> value(op, "value", weight.value, rows, cols);
  if (copy.defined()) require_rows(op, "compute_copy", copy, copy.dtype, rows, cols);
  if (skip) return;
  const std::int64_t spheres = weight.columns ? cols : rows;
  for (std::int64_t index = 0; index < spheres; ++index)
    normalize_sphere<T>(value, copy, index, weight.columns, weight.columns ? rows : cols);
}

}  // namespace

void ReferenceParameter::coefficient_map_forward(Stream&, const CoefficientMap& arguments) const {
  with_scalar("coefficient_map_forward", arguments.x.dtype,
              [&](auto scalar) { map_forward<decltype(scalar)>(arguments); });
}

void ReferenceParameter::coefficient_map_backward(Stream&, const CoefficientMapBackward& arguments) const {
  with_scalar("coefficient_map_backward", arguments.x.dtype,
              [&](auto scalar) { map_backward<decltype(scalar)>(arguments); });
}

void ReferenceParameter::row_gain_forward(Stream&, const RowGain& arguments) const {
  with_scalar("row_gain_forward", arguments.x.dtype,
              [&](auto scalar) { gain_forward<decltype(scalar)>(arguments); });
}

void ReferenceParameter::row_gain_backward(Stream&, const RowGainBackward& arguments) const {
  with_scalar("row_gain_backward", arguments.x.dtype, [&](auto scalar) {
    gain_backward<decltype(scalar)>(arguments, row_gain_backward_workspace(arguments));
  });
}

std::size_t ReferenceParameter::row_gain_backward_workspace(const RowGainBackward& arguments) const {
  return scratch_bytes(arguments.dgain.elements());
}

void ReferenceParameter::normalize_spheres(Stream&, const NormalizeSpheres& arguments,
                                           std::span<const SphereWeight> weights) const {
  const char* op = "normalize_spheres";
  const auto scalars = Vector<double>::optional(op, "step_scalars", arguments.step_scalars, kStepScalars);
  const bool skip = scalars && scalars[kStepSkipFactor] == 0;
  for (const SphereWeight& weight : weights)
    with_scalar(op, weight.value.dtype, [&](auto scalar) { normalize<decltype(scalar)>(op, weight, skip); });
}

std::size_t ReferenceParameter::normalize_spheres_workspace(std::span<const SphereWeight>) const { return 0; }

}  // namespace plumb::reference

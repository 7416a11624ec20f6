#include <array>
#include <cmath>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/row_segments.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

struct ValueAndSlope {
  float value, slope;
};

/// What a caller does not use costs nothing.
template <CoefficientMapKind kKind>
PLUMB_VECTOR ValueAndSlope evaluate(float x) {
  if constexpr (kKind == CoefficientMapKind::Absolute) {
    const float sign = x > 0.0F ? 1.0F : 0.0F;
    return {std::abs(x), x < 0.0F ? -1.0F : sign};
  }
  if constexpr (kKind == CoefficientMapKind::OneMinusSilu) {
    const float sigmoid = vector_sigmoid(x);
    return {1.0F - x * sigmoid, -sigmoid * (1.0F + x * (1.0F - sigmoid))};
  }
}

/// Calls body(constant) with the kind as a compile-time constant.
template <class Body>
void with_map_kind(const char* op, CoefficientMapKind kind, Body&& body) {
  using enum CoefficientMapKind;
  switch (kind) {
    case Absolute:
      return body(std::integral_constant<CoefficientMapKind, Absolute>{});
    case OneMinusSilu:
      return body(std::integral_constant<CoefficientMapKind, OneMinusSilu>{});
  }
  fail("{}: unknown coefficient map {}", op, static_cast<int>(kind));
}

/// The factor of each row of a RowGain, read when the op runs.
class RowFactors {
 public:
  template <class Arguments>
  RowFactors(const char* op, const Arguments& arguments, std::int64_t rows)
      : gain_(optional_vector<float>(op, "gain", arguments.gain, arguments.gain.elements() == 1 ? 1 : rows)),
        single_(arguments.gain.elements() == 1) {
    if (arguments.scalar.defined()) scalar_ = *vector_of<float>(op, "scalar", arguments.scalar, 1);
  }
  float scalar() const { return scalar_; }
  float of(std::int64_t r) const { return gain_ == nullptr ? scalar_ : scalar_ * gain_[single_ ? 0 : r]; }

 private:
  float scalar_ = 1;
  const float* gain_;
  bool single_;
};

template <class T>
void gain_forward(const RowGain& arguments) {
  const char* op = "row_gain_forward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols), y(op, "y", arguments.y, rows, cols);
  const RowFactors factors(op, arguments, rows);
  PLUMB_CHECK(arguments.y.data != arguments.x.data, "{}: y overlaps x", op);
  parallel_for(rows, row_grain(cols, kCheapElements), [&](std::int64_t r) {
    const T* from = x[r];
    T* to = y[r];
    const float factor = factors.of(r);
#pragma omp simd
    for (std::int64_t i = 0; i < cols; ++i) store(factor * static_cast<float>(from[i]), &to[i]);
  });
}

/// Sums over rows are needed only where one gain serves all of them.
RowSegments gain_segments(const RowGainBackward& arguments, WorkspaceCarver& carver) {
  return RowSegments(carver, arguments.x.rows(), row_grain(arguments.x.cols(), kCheapElements),
                     arguments.dgain.elements() == 1 ? 1 : 0);
}

template <class T>
void gain_backward(const RowGainBackward& arguments) {
  const char* op = "row_gain_backward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const std::int64_t gains = arguments.gain.elements();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const Rows<float> dy(op, "dy", arguments.dy, rows, cols), dx(op, "dx", arguments.dx, rows, cols);
  const RowFactors factors(op, arguments, rows);
  PLUMB_CHECK(arguments.gain.defined() || !arguments.dgain.defined(), "{}: dgain needs a gain", op);
  PLUMB_CHECK(arguments.dx.data != arguments.dy.data, "{}: dx overlaps dy", op);
  float* dgain = optional_vector<float>(op, "dgain", arguments.dgain, gains);
  WorkspaceCarver carver(arguments.workspace);
  const RowSegments segments = gain_segments(arguments, carver);
  segments.run([&](int, std::int64_t begin, std::int64_t end, double* sums) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* upstream = dy[r];
      float* to = dx[r];
      if (dgain != nullptr) {
        const float gradient = factors.scalar() * dot(x[r], upstream, cols);
        if (gains == 1) {
          sums[0] += static_cast<double>(gradient);
        } else {
          dgain[r] += gradient;
        }
      }
      const float factor = factors.of(r);
#pragma omp simd
      for (std::int64_t i = 0; i < cols; ++i) to[i] += factor * upstream[i];
    }
  });
  if (dgain != nullptr && gains == 1) segments.add_to(dgain, 0, 1);
}

/// 1 / 2-norm; 1 for a sphere of zeros.
double inverse_norm(double square) { return square == 0 ? 1.0 : 1.0 / std::sqrt(square); }

/// Writes `count` values to the copy, which is null when there is none.
template <class Copy>
void write_copy(const float* values, std::int64_t count, Copy* copy) {
  if (copy == nullptr) return;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) store(values[i], &copy[i]);
}

template <class Copy>
void normalize_row(float* value, std::int64_t cols, Copy* copy) {
  double square = 0;  // float64 throughout: squares of tiny entries would underflow in fp32
#pragma omp simd reduction(+ : square)
  for (std::int64_t i = 0; i < cols; ++i)
    square += static_cast<double>(value[i]) * static_cast<double>(value[i]);
  const double factor = inverse_norm(square);
#pragma omp simd
  for (std::int64_t i = 0; i < cols; ++i)
    value[i] = static_cast<float>(factor * static_cast<double>(value[i]));
  write_copy(value, cols, copy);
}

constexpr std::int64_t kColumns = 64;  // sums of as many columns stay in L1

/// The columns [first, first + width).
template <class Copy>
void normalize_columns(const Rows<float>& value, std::int64_t rows, std::int64_t first, std::int64_t width,
                       const Rows<Copy>& copy) {
  std::array<double, kColumns> factors{};
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* line = value[r] + first;
    for (std::int64_t i = 0; i < width; ++i)
      factors[static_cast<std::size_t>(i)] += static_cast<double>(line[i]) * static_cast<double>(line[i]);
  }
  for (double& factor : factors) factor = inverse_norm(factor);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* line = value[r] + first;
    for (std::int64_t i = 0; i < width; ++i)
      line[i] = static_cast<float>(factors[static_cast<std::size_t>(i)] * static_cast<double>(line[i]));
    write_copy(line, width, copy ? copy[r] + first : nullptr);
  }
}

/// Calls body(value, copy, rows, cols) with checked views; without a copy its view is empty.
template <class Body>
void with_sphere(const SphereWeight& weight, Body&& body) {
  const char* op = "normalize_spheres";
  const std::int64_t rows = weight.value.rows(), cols = weight.value.cols();
  const Rows<float> value(op, "value", weight.value, rows, cols);
  const Tensor& copy = weight.compute_copy;
  with_compute(op, copy.defined() ? copy.dtype : DType::Float32, [&](auto element) {
    body(value, Rows<decltype(element)>::optional(op, "compute_copy", copy, rows, cols), rows, cols);
  });
}

}  // namespace

void CpuParameter::coefficient_map_forward(Stream&, const CoefficientMap& arguments) const {
  const char* op = "coefficient_map_forward";
  const std::int64_t n = arguments.x.elements();
  const float* x = vector_of<float>(op, "x", arguments.x, n);
  float* y = vector_of<float>(op, "y", arguments.y, n);
  PLUMB_CHECK(y != x, "{}: y overlaps x", op);
  with_map_kind(op, arguments.kind, [&](auto kind) {
    parallel_chunks(n, kExpensiveElements, [&](int, std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) y[i] = evaluate<kind()>(x[i]).value;
    });
  });
}

void CpuParameter::coefficient_map_backward(Stream&, const CoefficientMapBackward& arguments) const {
  const char* op = "coefficient_map_backward";
  const std::int64_t n = arguments.x.elements();
  const float* x = vector_of<float>(op, "x", arguments.x, n);
  const float* dy = vector_of<float>(op, "dy", arguments.dy, n);
  float* dx = vector_of<float>(op, "dx", arguments.dx, n);
  with_map_kind(op, arguments.kind, [&](auto kind) {
    parallel_chunks(n, kExpensiveElements, [&](int, std::int64_t begin, std::int64_t end) {
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) dx[i] += dy[i] * evaluate<kind()>(x[i]).slope;
    });
  });
}

void CpuParameter::row_gain_forward(Stream&, const RowGain& arguments) const {
  with_compute("row_gain_forward", arguments.x.dtype,
               [&](auto element) { gain_forward<decltype(element)>(arguments); });
}

void CpuParameter::row_gain_backward(Stream&, const RowGainBackward& arguments) const {
  with_compute("row_gain_backward", arguments.x.dtype,
               [&](auto element) { gain_backward<decltype(element)>(arguments); });
}

std::size_t CpuParameter::row_gain_backward_workspace(const RowGainBackward& arguments) const {
  WorkspaceCarver carver;
  gain_segments(arguments, carver);
  return carver.bytes();
}

void CpuParameter::normalize_spheres(Stream&, const NormalizeSpheres& arguments,
                                     std::span<const SphereWeight> weights) const {
  const double* scalars =
      optional_vector<double>("normalize_spheres", "step_scalars", arguments.step_scalars, kStepScalars);
  for (const SphereWeight& weight : weights)  // before anything changes
    with_sphere(weight, [](auto&&...) {});
  if (scalars != nullptr && scalars[kStepSkipFactor] == 0) return;
  for (const SphereWeight& weight : weights) {
    with_sphere(weight, [&](const auto& value, const auto& copy, std::int64_t rows, std::int64_t cols) {
      if (!weight.columns) {
        parallel_for(rows, row_grain(cols, kCheapElements),
                     [&](std::int64_t r) { normalize_row(value[r], cols, copy ? copy[r] : nullptr); });
        return;
      }
      parallel_for((cols + kColumns - 1) / kColumns, row_grain(rows * kColumns, kCheapElements),
                   [&](std::int64_t group) {
                     const std::int64_t first = group * kColumns;
                     normalize_columns(value, rows, first, std::min(kColumns, cols - first), copy);
                   });
    });
  }
}

std::size_t CpuParameter::normalize_spheres_workspace(std::span<const SphereWeight>) const { return 0; }

}  // namespace plumb::cpu

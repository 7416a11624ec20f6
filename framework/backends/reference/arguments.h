// How the reference ops look at their arguments: checked typed views, dispatch on the scalar type, scratch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backend/ops/coefficient.h"
#include "backend/stream.h"
#include "backend/tensor_checks.h"
#include "core/error.h"
#include "core/tensor.h"

namespace plumb::reference {

[[noreturn]] void fail_dtype(const char* op, DType dtype);

/// Calls body(scalar) with a double or a float according to the compute dtype.
template <class Body>
void with_scalar(const char* op, DType dtype, Body&& body) {
  if (dtype == DType::Float64) return std::forward<Body>(body)(double{});
  if (dtype == DType::Float32) return std::forward<Body>(body)(float{});
  fail_dtype(op, dtype);
}

/// A (rows, cols) tensor as rows of T; false when the tensor is empty (allowed only through optional()).
template <class T>
class Rows {
 public:
  Rows(const char* op, const char* name, const Tensor& tensor, std::int64_t rows, std::int64_t cols)
      : stride_(tensor.row_stride) {
    require_rows(op, name, tensor, dtype_of<T>, rows, cols);
    data_ = tensor.as<T>();
  }
  static Rows optional(const char* op, const char* name, const Tensor& tensor, std::int64_t rows,
                       std::int64_t cols) {
    return tensor.defined() ? Rows(op, name, tensor, rows, cols) : Rows();
  }
  T* operator[](std::int64_t row) const { return data_ + row * stride_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Rows() = default;
  T* data_ = nullptr;
  std::int64_t stride_ = 0;
};

/// A contiguous tensor of a known number of elements; false when the tensor is empty.
template <class T>
class Vector {
 public:
  Vector(const char* op, const char* name, const Tensor& tensor, std::int64_t elements)
      : elements_(elements) {
    require_vector(op, name, tensor, dtype_of<T>, elements);
    data_ = tensor.as<T>();
  }
  static Vector optional(const char* op, const char* name, const Tensor& tensor, std::int64_t elements) {
    return tensor.defined() ? Vector(op, name, tensor, elements) : Vector();
  }
  T& operator[](std::int64_t i) const { return data_[i]; }
  explicit operator bool() const { return data_ != nullptr; }
  void clear() const { std::fill_n(data_, elements_, T{}); }
  /// this[i] += sums[i], rounded once.
  void add(const double* sums) const {
    for (std::int64_t i = 0; i < elements_; ++i) data_[i] = static_cast<T>(data_[i] + sums[i]);
  }

 private:
  Vector() = default;
  T* data_ = nullptr;
  std::int64_t elements_ = 0;
};

/// Hands out zeroed arrays of double from an op's workspace.
class Scratch {
 public:
  Scratch(const char* op, const Workspace& workspace, std::size_t needed_bytes);
  double* take(std::int64_t elements);

 private:
  double* next_;
  double* end_;
};
inline std::size_t scratch_bytes(std::int64_t doubles) {
  return static_cast<std::size_t>(doubles) * sizeof(double);
}

/// A Coefficient at row r and feature i, in double: scalar * feature[i or 0] * sequence[r / T].
template <class T>
class CoefficientView {
 public:
  CoefficientView(const char* op, const char* name, const Coefficient& coefficient, std::int64_t rows,
                  std::int64_t cols, std::int64_t rows_per_sequence)
      : scalar_(Vector<T>::optional(op, name, coefficient.scalar, 1)),
        feature_(Vector<T>::optional(op, name, coefficient.feature,
                                     coefficient.feature.elements() == 1 ? 1 : cols)),
        sequence_(Vector<T>::optional(op, name, coefficient.sequence, sequences_of(rows, rows_per_sequence))),
        per_feature_(coefficient.feature.elements() != 1),
        rows_per_sequence_(rows_per_sequence),
        stop_gradient_(coefficient.stop_gradient) {}

  double value(std::int64_t row, std::int64_t i) const {
    return other_factors(row) * (feature_ ? feature_[feature_index(i)] : 1.0);
  }
  /// What the backward pass multiplies the gradient of the data with.
  double data_factor(std::int64_t row, std::int64_t i) const { return stop_gradient_ ? 1.0 : value(row, i); }
  /// d value / d feature.
  double other_factors(std::int64_t row) const {
    return (scalar_ ? scalar_[0] : 1.0) * (sequence_ ? sequence_[row / rows_per_sequence_] : 1.0);
  }
  std::int64_t feature_index(std::int64_t i) const { return per_feature_ ? i : 0; }

 private:
  Vector<T> scalar_, feature_, sequence_;
  bool per_feature_;
  std::int64_t rows_per_sequence_;
  bool stop_gradient_;
};

/// Sums up the gradient of a Coefficient's trainable factor; does nothing when it is not wanted.
template <class T>
class CoefficientSum {
 public:
  CoefficientSum(const char* op, const char* name, const Coefficient& coefficient,
                 const CoefficientGradient& gradient, Scratch& scratch)
      : gradient_(Vector<T>::optional(op, name, gradient.feature, coefficient.feature.elements())),
        sums_(gradient_ ? scratch.take(coefficient.feature.elements()) : nullptr) {}

  explicit operator bool() const { return static_cast<bool>(gradient_); }
  /// upstream_times_data = (gradient of the product coefficient * data) * data, at (row, i).
  void add(const CoefficientView<T>& coefficient, std::int64_t row, std::int64_t i,
           double upstream_times_data) const {
    if (sums_) sums_[coefficient.feature_index(i)] += upstream_times_data * coefficient.other_factors(row);
  }
  void store() const {
    if (sums_) gradient_.add(sums_);
  }

 private:
  Vector<T> gradient_;
  double* sums_;
};

}  // namespace plumb::reference

// A Coefficient (backend/ops/coefficient.h) as kernels see it.
#pragma once

#include <cstdint>

#include "backend/ops/coefficient.h"
#include "portability.cuh"

namespace plumb::cuda {

struct CoefficientView {
  const float* scalar = nullptr;
  const float* feature = nullptr;
  const float* sequence = nullptr;
  std::int64_t rows_per_sequence = 1;
  bool per_feature = false;
  bool stop_gradient = false;

  CoefficientView() = default;
  CoefficientView(const Coefficient& coefficient, std::int64_t rows_per_sequence_in)
      : scalar(static_cast<const float*>(coefficient.scalar.data)),
        feature(static_cast<const float*>(coefficient.feature.data)),
        sequence(static_cast<const float*>(coefficient.sequence.data)),
        rows_per_sequence(rows_per_sequence_in),
        per_feature(coefficient.feature.defined() && coefficient.feature.elements() != 1),
        stop_gradient(coefficient.stop_gradient) {}

  /// d value / d feature: the factors that a whole row shares.
  __device__ __forceinline__ float row_factor(std::int64_t row) const {
    float factor = scalar != nullptr ? scalar[0] : 1.0f;
    if (sequence != nullptr) factor *= sequence[row / rows_per_sequence];
    return factor;
  }
  __device__ __forceinline__ float feature_factor(std::int64_t i) const {
    return feature == nullptr ? 1.0f : feature[per_feature ? i : 0];
  }
  __device__ __forceinline__ float value(std::int64_t row, std::int64_t i) const {
    return row_factor(row) * feature_factor(i);
  }
  /// The same as a factor per row times a factor per feature: value(row, i) = row_value(row) * features()[i],
  /// where no features() are 1.
  __device__ __forceinline__ float row_value(std::int64_t row) const {
    return per_feature || feature == nullptr ? row_factor(row) : row_factor(row) * feature[0];
  }
  __device__ __forceinline__ const float* features() const { return per_feature ? feature : nullptr; }
  /// And for data_factor().
  __device__ __forceinline__ float row_data(std::int64_t row) const {
    return stop_gradient ? 1.0f : row_value(row);
  }
  __device__ __forceinline__ const float* data_features() const {
    return stop_gradient ? nullptr : features();
  }
  /// What the backward pass multiplies the gradient of the data with.
  __device__ __forceinline__ float data_factor(std::int64_t row, std::int64_t i) const {
    return stop_gradient ? 1.0f : value(row, i);
  }
};

}  // namespace plumb::cuda

// A Coefficient (backend/ops/coefficient.h) as loops want it: a factor per row times a factor per feature.
#pragma once

#include <cstdint>

#include "backend/ops/coefficient.h"
#include "backends/cpu/arguments.h"

namespace plumb::cpu {

class CoefficientView {
 public:
  CoefficientView(const char* op, const char* name, const Coefficient& coefficient, std::int64_t rows,
                  std::int64_t cols, std::int64_t rows_per_sequence)
      : sequence_(
            optional_vector<float>(op, name, coefficient.sequence, sequences_of(rows, rows_per_sequence))),
        rows_per_sequence_(rows_per_sequence),
        stop_gradient_(coefficient.stop_gradient) {
    if (coefficient.scalar.defined()) scalar_ = *vector_of<float>(op, name, coefficient.scalar, 1);
    if (coefficient.feature.elements() == 1) {
      single_ = *vector_of<float>(op, name, coefficient.feature, 1);
    } else {
      features_ = optional_vector<float>(op, name, coefficient.feature, cols);
    }
  }

  /// value(r, i) = row(r) * features()[i]; no features = 1.
  float row(std::int64_t r) const { return other_factors(r) * single_; }
  const float* features() const { return features_; }
  /// The same for what backward multiplies the gradient of the data with.
  float data_row(std::int64_t r) const { return stop_gradient_ ? 1.0F : row(r); }
  const float* data_features() const { return stop_gradient_ ? nullptr : features_; }
  /// d value / d feature.
  float other_factors(std::int64_t r) const {
    return sequence_ != nullptr ? scalar_ * sequence_[r / rows_per_sequence_] : scalar_;
  }

 private:
  float scalar_ = 1, single_ = 1;
  const float* features_ = nullptr;
  const float* sequence_;
  std::int64_t rows_per_sequence_;
  bool stop_gradient_;
};

/// out[i] = first[i] * second[i]; a null factor is 1.
inline void multiply_features(const float* first, const float* second, std::int64_t cols, float* out) {
  for (std::int64_t i = 0; i < cols; ++i)
    out[i] = (first != nullptr ? first[i] : 1.0F) * (second != nullptr ? second[i] : 1.0F);
}

}  // namespace plumb::cpu

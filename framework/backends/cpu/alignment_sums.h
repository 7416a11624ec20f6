// The alignment of branch and stream, taken row by row while both are in cache (backend/ops/alignment.h).
#pragma once

#include <cmath>
#include <cstdint>

#include "backend/ops/alignment.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/workspace_carver.h"

namespace plumb::cpu {

/// Collects an alignment over the parallel chunks of an op. Nothing happens when the view is not defined.
class AlignmentSums {
 public:
  /// Carves its scratch; the same call on a planning carver counts it.
  AlignmentSums(const char* op, const AlignmentView& view, std::int64_t cols, WorkspaceCarver& carver);

  /// One thread's sums, used inside a parallel chunk.
  class Partial {
   public:
    template <class T>
    void add_row(const T* x, const T* z);

   private:
    friend class AlignmentSums;
    Partial(double* scalars, std::int64_t cols) : scalars_(scalars), cols_(cols) {}

    template <class T>
    void add_wide(const T* x, const T* z);

    double* scalars_;  // null = not wanted
    std::int64_t cols_;
  };

  Partial begin(int thread) const {
    return {scalars_ != nullptr ? scalars_ + thread * kStride : nullptr, cols_};
  }
  /// After the parallel region: adds everything to the view, threads in order.
  void store() const;

 private:
  static constexpr std::int64_t kStride = 8;  // each thread's scalars have a cache line of their own

  AlignmentView view_;
  std::int64_t cols_;
  int threads_ = 0;
  double* scalars_ = nullptr;  // (threads, kStride)
};

template <class T>
void AlignmentSums::Partial::add_row(const T* x, const T* z) {
  if (scalars_ == nullptr) return;
  LanesValue x_squares{}, z_squares{}, products{};
  std::int64_t i = 0;
  for (; i + kLanes <= cols_; i += kLanes) {
    const LanesValue x_values = LoadLanes{}(x + i), z_values = LoadLanes{}(z + i);
    x_squares += x_values * x_values;
    z_squares += z_values * z_values;
    products += x_values * z_values;
  }
  float x_square = sum_of_lanes(x_squares), z_square = sum_of_lanes(z_squares);
  float product = sum_of_lanes(products);
  for (; i < cols_; ++i) {
    const auto x_value = static_cast<float>(x[i]), z_value = static_cast<float>(z[i]);
    x_square += x_value * x_value;
    z_square += z_value * z_value;
    product += x_value * z_value;
  }
  // Squares beyond these would lose more than rounding in fp32; 0 may be one of them, NaN is outside too.
  const auto in_range = [](float square) { return square > 1e-27F && square < 1e30F; };
  if (!in_range(x_square) || !in_range(z_square)) return add_wide(x, z);
  const double norms = std::sqrt(static_cast<double>(x_square) * static_cast<double>(z_square));
  scalars_[kAlignmentProduct] += static_cast<double>(product);
  scalars_[kAlignmentCosine] += static_cast<double>(product) / norms;
  scalars_[kAlignmentRatio] += static_cast<double>(z_square) / norms;
}

/// The row again in float64.
template <class T>
void AlignmentSums::Partial::add_wide(const T* x, const T* z) {
  double x_square = 0, z_square = 0, product = 0;
#pragma omp simd reduction(+ : x_square, z_square, product)
  for (std::int64_t i = 0; i < cols_; ++i) {
    const auto x_value = static_cast<double>(static_cast<float>(x[i]));
    const auto z_value = static_cast<double>(static_cast<float>(z[i]));
    x_square += x_value * x_value;
    z_square += z_value * z_value;
    product += x_value * z_value;
  }
  scalars_[kAlignmentProduct] += product;
  if (x_square == 0 || z_square == 0) {
    scalars_[kAlignmentZeroRows] += 1;
    return;
  }
  const double x_norm = std::sqrt(x_square), z_norm = std::sqrt(z_square);
  scalars_[kAlignmentCosine] += product / (x_norm * z_norm);
  scalars_[kAlignmentRatio] += z_norm / x_norm;
}

}  // namespace plumb::cpu

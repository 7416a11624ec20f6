// The alignment of branch and stream, taken row by row while both are in cache (backend/ops/alignment.h).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "backend/ops/alignment.h"
#include "backends/cpu/arguments.h"
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
    /// Rows [first, first + count).
    template <class T>
    void add_rows(const Rows<T>& x, const Rows<T>& z, std::int64_t first, std::int64_t count);

   private:
    friend class AlignmentSums;
    Partial(double* scalars, std::int64_t cols) : scalars_(scalars), cols_(cols) {}

    /// Squares beyond these would lose more than rounding in fp32; 0 may be one of them, NaN is outside too.
    static bool in_range(float square) { return square > 1e-27F && square < 1e30F; }
    struct RowTotals {
      float x_square, z_square, product;
      bool in_range() const { return Partial::in_range(x_square) && Partial::in_range(z_square); }
    };
    template <class T>
    RowTotals totals_of(const T* x, const T* z) const;
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
AlignmentSums::Partial::RowTotals AlignmentSums::Partial::totals_of(const T* x, const T* z) const {
  LanesValue x_squares{}, z_squares{}, products{};
  std::int64_t i = 0;
  for (; i + kLanes <= cols_; i += kLanes) {
    const LanesValue x_values = LoadLanes{}(x + i), z_values = LoadLanes{}(z + i);
    x_squares += x_values * x_values;
    z_squares += z_values * z_values;
    products += x_values * z_values;
  }
  RowTotals totals{sum_of_lanes(x_squares), sum_of_lanes(z_squares), sum_of_lanes(products)};
  for (; i < cols_; ++i) {
    const auto x_value = static_cast<float>(x[i]), z_value = static_cast<float>(z[i]);
    totals.x_square += x_value * x_value;
    totals.z_square += z_value * z_value;
    totals.product += x_value * z_value;
  }
  return totals;
}

template <class T>
void AlignmentSums::Partial::add_rows(const Rows<T>& x, const Rows<T>& z, std::int64_t first,
                                      std::int64_t count) {
  if (scalars_ == nullptr) return;
  // Roots and quotients of a group at a time: one by one each would wait for the one before.
  constexpr std::int64_t kGroup = 4;
  std::array<double, kGroup> product, x_square, z_square;
  for (const std::int64_t end = first + count; first < end;) {
    std::size_t rows = 0;
    product.fill(0), x_square.fill(1), z_square.fill(0);
    for (; rows < kGroup && first < end; ++first) {
      const RowTotals totals = totals_of<T>(x[first], z[first]);
      if (!totals.in_range()) {
        add_wide<T>(x[first], z[first]);
        continue;
      }
      product[rows] = static_cast<double>(totals.product);
      x_square[rows] = static_cast<double>(totals.x_square);
      z_square[rows++] = static_cast<double>(totals.z_square);
    }
    std::array<double, kGroup> cosine, ratio;
    for (std::size_t r = 0; r < kGroup; ++r) {
      // 1 / (|x| |z|); of a row that is not there both numerators are 0.
      const double inverse = 1 / std::sqrt(x_square[r] * (r < rows ? z_square[r] : 1.0));
      cosine[r] = product[r] * inverse;
      ratio[r] = z_square[r] * inverse;
    }
    for (std::size_t r = 0; r < kGroup; ++r) {
      scalars_[kAlignmentProduct] += product[r];
      scalars_[kAlignmentCosine] += cosine[r];
      scalars_[kAlignmentRatio] += ratio[r];
    }
  }
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

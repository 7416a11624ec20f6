// The moments of a tensor, taken row by row while the row is in cache (backend/ops/moments.h).
#pragma once

#include <bit>
#include <cstdint>

#include "backend/ops/moments.h"
#include "backends/cpu/thread_columns.h"
#include "backends/cpu/workspace_carver.h"

namespace plumb::cpu {

/// Collects the moments of one tensor over the parallel chunks of an op. Nothing happens when the view is not
/// defined.
class MomentSums {
 public:
  /// Carves its scratch; the same call on a planning carver counts it.
  MomentSums(const char* op, const MomentsView& view, std::int64_t cols, WorkspaceCarver& carver);

  bool wanted() const { return scalars_ != nullptr; }

  /// One thread's moments, used inside a parallel chunk.
  class Partial {
   public:
    template <class T>
    void add_row(const T* row) {
      if (scalars_ == nullptr) return;
      if (shift_ != nullptr) {
        add<T, true>(row);
      } else {
        add<T, false>(row);
      }
    }
    /// Once, after the chunk's last row.
    void finish() { columns_.flush(); }

   private:
    friend class MomentSums;
    Partial(double* scalars, const float* shift, std::int64_t cols, ThreadColumns::Partial columns)
        : scalars_(scalars), shift_(shift), cols_(cols), columns_(columns) {}

    template <class T, bool kColumns>
    void add(const T* row);

    double* scalars_;
    const float* shift_;
    std::int64_t cols_;
    ThreadColumns::Partial columns_;
  };

  Partial begin(int thread) const;
  /// After the parallel region: adds everything to the view, threads in order.
  void store() const;

 private:
  MomentsView view_;
  std::int64_t cols_;
  int threads_ = 0;
  double* scalars_ = nullptr;  // (threads, kMomentScalars)
  float* shift_ = nullptr;     // (cols) the view's shift in fp32; null = no column moments
  ThreadColumns columns_;      // sums about shift_, then sums of squares about it
};

template <class T, bool kColumns>
void MomentSums::Partial::add(const T* row) {
  float* column_sum = columns_.array(0);
  float* column_square = kColumns ? columns_.array(1) : nullptr;
  float sum = 0, sum_abs = 0, squares = 0;
  std::int32_t largest = 0;  // bits of |x|, which order as the numbers do; NaN counts as the largest
#pragma omp simd reduction(+ : sum, sum_abs, squares) reduction(max : largest)
  for (std::int64_t i = 0; i < cols_; ++i) {
    const auto x = static_cast<float>(row[i]);
    const auto magnitude = std::bit_cast<std::int32_t>(x) & 0x7fffffff;
    sum += x;
    sum_abs += std::bit_cast<float>(magnitude);
    squares += x * x;
    largest = largest < magnitude ? magnitude : largest;
    if constexpr (kColumns) {
      const float deviation = x - shift_[i];
      column_sum[i] += deviation;
      column_square[i] += deviation * deviation;
    }
  }
  if constexpr (kColumns) columns_.end_row();
  const float mean = sum / static_cast<float>(cols_);
  float variance = 0;  // a second pass: sum x^2 - n mean^2 would cancel
#pragma omp simd reduction(+ : variance)
  for (std::int64_t i = 0; i < cols_; ++i) {
    const float deviation = static_cast<float>(row[i]) - mean;
    variance += deviation * deviation;
  }
  const auto row_squares = static_cast<double>(squares);
  const auto row_largest = static_cast<double>(std::bit_cast<float>(largest));
  scalars_[kMomentRows] += 1;
  scalars_[kMomentSumAbs] += static_cast<double>(sum_abs);
  scalars_[kMomentSumSquares] += row_squares;
  scalars_[kMomentSumRowVariance] += static_cast<double>(variance) / static_cast<double>(cols_);
  // Written so that NaN stays.
  if (!(row_largest <= scalars_[kMomentMaxAbs])) scalars_[kMomentMaxAbs] = row_largest;
  if (!(row_squares <= scalars_[kMomentMaxRowSquares])) scalars_[kMomentMaxRowSquares] = row_squares;
}

}  // namespace plumb::cpu

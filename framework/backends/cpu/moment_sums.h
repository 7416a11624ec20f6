// The moments of a tensor, taken row by row while the row is in cache (backend/ops/moments.h).
#pragma once

#include <array>
#include <cstdint>

#include "backend/ops/moments.h"
#include "backends/cpu/arguments.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/thread_columns.h"
#include "backends/cpu/workspace_carver.h"
#include "core/maximum.h"

namespace plumb::cpu {

/// Collects the moments of one tensor over the parallel chunks of an op. Nothing happens when the view is not
/// defined.
class MomentSums {
 public:
  /// Carves its scratch; the same call on a planning carver counts it.
  MomentSums(const char* op, const MomentsView& view, std::int64_t cols, WorkspaceCarver& carver);

  bool wanted() const { return scalars_ != nullptr; }

  /// So many rows are best added together.
  static constexpr std::int64_t kGroup = 4;

  /// One thread's moments, used inside a parallel chunk.
  class Partial {
   public:
    /// Rows [first, first + count).
    template <class T>
    void add_rows(const Rows<T>& rows, std::int64_t first, std::int64_t count) {
      if (scalars_ == nullptr) return;
      if (shift_ != nullptr) {
        add_groups<T, true>(rows, first, count);
      } else {
        add_groups<T, false>(rows, first, count);
      }
    }
    /// Once, after the chunk's last row.
    void finish() {
      if (scalars_ == nullptr) return;
      flush();
      columns_.flush();
    }

   private:
    friend class MomentSums;
    Partial(double* scalars, const float* shift, bool wide_shift, std::int64_t cols,
            ThreadColumns::Partial columns)
        : scalars_(scalars), shift_(shift), wide_shift_(wide_shift), cols_(cols), columns_(columns) {}

    /// What one row of a group sums to; rows of which `ordinary()` holds are added without further checks.
    struct RowTotals {
      float sum, squares;
      /// Neither the fourth powers nor float16 are near the ends of their range; NaN is not ordinary.
      bool ordinary() const { return squares > 1e-12F && squares < kLargestFloat16 * kLargestFloat16; }
      /// Sum x^2 - n mean^2 is the sum of the squared deviations: unless most of the digits would cancel.
      bool has_small_mean(std::int64_t cols) const {
        return sum * sum <= 0.25F * squares * static_cast<float>(cols);
      }
    };

    template <class T, bool kColumns>
    void add_groups(const Rows<T>& rows, std::int64_t first, std::int64_t count);
    template <class T, bool kColumns>
    bool add_ordinary(const std::array<const T*, kGroup>& rows);
    template <class T>
    void add_columns(const std::array<const T*, kGroup>& rows);
    template <class T, bool kColumns>
    void add(const T* row);
    template <class T, bool kColumns>
    void add_deviations(const T* row, float mean);
    void add_totals(const RowTotals& totals);
    void count_additions(std::int64_t additions) {
      constexpr std::int64_t kMaximumAdditions = 1024;  // short sums first: their rounding errors stay small
      additions_ += additions;
      if (additions_ >= kMaximumAdditions) flush();
    }
    template <class T>
    void add_wide(const T* row);
    template <class T>
    bool is_zero(const T* row) const {
      int others = 0;
      for (std::int64_t i = 0; i < cols_; ++i) others |= static_cast<float>(row[i]) != 0.0F ? 1 : 0;
      return others == 0;
    }
    template <class T>
    void add_wide_fourths(const T* row);
    template <class T>
    void count_overflows(const T* row) {
      for (std::int64_t i = 0; i < cols_; ++i) {
        const auto x = static_cast<float>(row[i]);
        if (!((x < 0 ? -x : x) <= kLargestFloat16)) scalars_[kMomentOverflows] += 1;
      }
    }
    /// Lanes to float64.
    void flush();

    double* scalars_;
    const float* shift_;
    bool wide_shift_;
    std::int64_t cols_;
    ThreadColumns::Partial columns_;
    LanesValue sum_abs_{}, sum_variance_{}, sum_fourth_{}, max_abs_{};  // over rows and features
    std::int64_t additions_ = 0;                                        // to each lane since the last flush
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
  bool wide_shift_ = false;    // a deviation from it may be too large to be squared in fp32
  ThreadColumns columns_;      // sums about shift_, then sums of squares about it
};

template <class T, bool kColumns>
void MomentSums::Partial::add_groups(const Rows<T>& rows, std::int64_t first, std::int64_t count) {
  const std::int64_t end = first + count;
  for (; first + kGroup <= end; first += kGroup) {
    std::array<const T*, kGroup> group;
    for (std::int64_t r = 0; r < kGroup; ++r) group[static_cast<std::size_t>(r)] = rows[first + r];
    if (cols_ % kLanes == 0 && !wide_shift_ && add_ordinary<T, kColumns>(group)) continue;
    for (const T* row : group) add<T, kColumns>(row);
  }
  for (; first < end; ++first) add<T, kColumns>(rows[first]);
}

/// Nothing is added when one of the rows is not ordinary, which is what it returns.
template <class T, bool kColumns>
bool MomentSums::Partial::add_ordinary(const std::array<const T*, kGroup>& rows) {
  std::array<LanesValue, kGroup> sums{}, squares{};
  LanesValue sum_abs = sum_abs_, sum_fourth = sum_fourth_, max_abs = max_abs_;
  for (std::int64_t i = 0; i < cols_; i += kLanes) {
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kGroup; ++r) {
      const LanesValue x = LoadLanes{}(rows[r] + i), square = x * x;
      const LanesValue magnitude = x < 0 ? -x : x;
      sums[r] += x;
      squares[r] += square;
      sum_fourth += square * square;
      sum_abs += magnitude;
      max_abs = magnitude > max_abs ? magnitude : max_abs;
    }
  }
  std::array<RowTotals, kGroup> totals;
  bool ordinary = true;
  for (std::size_t r = 0; r < kGroup; ++r) {
    totals[r] = {sum_of_lanes(sums[r]), sum_of_lanes(squares[r])};
    ordinary = ordinary && totals[r].ordinary() && totals[r].has_small_mean(cols_);
  }
  if (!ordinary) return false;
  sum_abs_ = sum_abs;
  sum_fourth_ = sum_fourth;
  max_abs_ = max_abs;
  double variance = 0;
  for (const RowTotals& row : totals) {
    add_totals(row);
    variance += static_cast<double>(row.squares - row.sum * row.sum / static_cast<float>(cols_));
  }
  scalars_[kMomentSumRowVariance] += variance / static_cast<double>(cols_);
  if constexpr (kColumns) add_columns(rows);
  count_additions(kGroup * cols_ / kLanes);
  return true;
}

/// The group again, from cache, into the sums of its features.
template <class T>
void MomentSums::Partial::add_columns(const std::array<const T*, kGroup>& rows) {
  float *column_sum = columns_.array(0), *column_square = columns_.array(1);
  for (std::int64_t i = 0; i < cols_; i += kLanes) {
    const LanesValue shift = lanes_at(shift_ + i);
    LanesValue sum = lanes_at(column_sum + i), square = lanes_at(column_square + i);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kGroup; ++r) {
      const LanesValue deviation = LoadLanes{}(rows[r] + i) - shift;
      sum += deviation;
      square += deviation * deviation;
    }
    lanes_at(column_sum + i) = sum;
    lanes_at(column_square + i) = square;
  }
  columns_.end_rows(kGroup);
}

inline void MomentSums::Partial::add_totals(const RowTotals& totals) {
  scalars_[kMomentRows] += 1;
  scalars_[kMomentSum] += static_cast<double>(totals.sum);
  scalars_[kMomentSumSquares] += static_cast<double>(totals.squares);
  scalars_[kMomentMaxRowSquares] =
      maximum_or_nan(scalars_[kMomentMaxRowSquares], static_cast<double>(totals.squares));
}

/// One row, whatever its values and its length.
template <class T, bool kColumns>
void MomentSums::Partial::add(const T* row) {
  LanesValue sums{}, squares{}, sum_abs = sum_abs_, sum_fourth = sum_fourth_, max_abs = max_abs_;
  std::int64_t i = 0;
  for (; i + kLanes <= cols_; i += kLanes) {
    const LanesValue x = LoadLanes{}(row + i), square = x * x;
    const LanesValue magnitude = x < 0 ? -x : x;
    sums += x;
    squares += square;
    sum_fourth += square * square;
    sum_abs += magnitude;
    max_abs = magnitude > max_abs ? magnitude : max_abs;
  }
  float sum = sum_of_lanes(sums), row_squares = sum_of_lanes(squares);
  for (; i < cols_; ++i) {
    const auto x = static_cast<float>(row[i]);
    const float magnitude = x < 0 ? -x : x, square = x * x;
    sum += x;
    row_squares += square;
    sum_fourth[0] += square * square;
    sum_abs[0] += magnitude;
    max_abs[0] = magnitude > max_abs[0] ? magnitude : max_abs[0];
  }
  // Squares beyond these would lose more than rounding in fp32; NaN is outside too.
  const bool in_range = row_squares > 1e-27F && row_squares < 1e30F;
  if (!(in_range || (row_squares == 0 && is_zero(row))) || (kColumns && wide_shift_)) return add_wide(row);
  sum_abs_ = sum_abs;
  max_abs_ = max_abs;
  // Between flushes at most 1024 such rows are added, each at most row_squares^2.
  if (row_squares > 1e-12F && row_squares < 1e15F) {
    sum_fourth_ = sum_fourth;
  } else if (row_squares != 0) {
    add_wide_fourths(row);
  }
  if (row_squares > kLargestFloat16 * kLargestFloat16) count_overflows(row);
  add_deviations<T, kColumns>(row, sum / static_cast<float>(cols_));
  add_totals({sum, row_squares});
  count_additions(cols_ / kLanes + 1);
}

/// Fourth powers in float64: fp32 has not the range for them that it has for squares.
template <class T>
void MomentSums::Partial::add_wide_fourths(const T* row) {
  double fourths = 0;
#pragma omp simd reduction(+ : fourths)
  for (std::int64_t i = 0; i < cols_; ++i) {
    const auto x = static_cast<double>(static_cast<float>(row[i]));
    fourths += x * x * x * x;
  }
  scalars_[kMomentSumFourth] += fourths;
}

/// The row again in float64: rows of huge or tiny values, or with values that are not finite.
template <class T>
void MomentSums::Partial::add_wide(const T* row) {
  double sum = 0, sum_abs = 0, squares = 0, largest = 0, variance = 0;
  for (std::int64_t i = 0; i < cols_; ++i) {
    const auto x = static_cast<double>(static_cast<float>(row[i])), magnitude = x < 0 ? -x : x;
    sum += x;
    sum_abs += magnitude;
    squares += x * x;
    largest = maximum_or_nan(largest, magnitude);
  }
  count_overflows(row);
  add_wide_fourths(row);
  const double mean = sum / static_cast<double>(cols_);
  for (std::int64_t i = 0; i < cols_; ++i) {
    const double deviation = static_cast<double>(static_cast<float>(row[i])) - mean;
    variance += deviation * deviation;
  }
  scalars_[kMomentRows] += 1;
  scalars_[kMomentSum] += sum;
  scalars_[kMomentSumAbs] += sum_abs;
  scalars_[kMomentSumSquares] += squares;
  scalars_[kMomentSumRowVariance] += variance / static_cast<double>(cols_);
  scalars_[kMomentMaxAbs] = maximum_or_nan(scalars_[kMomentMaxAbs], largest);
  scalars_[kMomentMaxRowSquares] = maximum_or_nan(scalars_[kMomentMaxRowSquares], squares);
  if (shift_ == nullptr) return;
  double *column_sum = columns_.total(0), *column_square = columns_.total(1);
  for (std::int64_t i = 0; i < cols_; ++i) {
    const double deviation = static_cast<double>(static_cast<float>(row[i])) - static_cast<double>(shift_[i]);
    column_sum[i] += deviation;
    column_square[i] += deviation * deviation;
  }
}

/// A second pass over the row in cache: sum x^2 - n mean^2 would cancel.
template <class T, bool kColumns>
void MomentSums::Partial::add_deviations(const T* row, float mean) {
  float* column_sum = kColumns ? columns_.array(0) : nullptr;
  float* column_square = kColumns ? columns_.array(1) : nullptr;
  std::int64_t i = 0;
  for (; i + kLanes <= cols_; i += kLanes) {
    const LanesValue x = LoadLanes{}(row + i);
    sum_variance_ += (x - mean) * (x - mean);
    if constexpr (kColumns) {
      const LanesValue deviation = x - lanes_at(shift_ + i);
      lanes_at(column_sum + i) += deviation;
      lanes_at(column_square + i) += deviation * deviation;
    }
  }
  for (; i < cols_; ++i) {
    const auto x = static_cast<float>(row[i]);
    sum_variance_[0] += (x - mean) * (x - mean);
    if constexpr (kColumns) {
      const float deviation = x - shift_[i];
      column_sum[i] += deviation;
      column_square[i] += deviation * deviation;
    }
  }
  if constexpr (kColumns) columns_.end_rows(1);
}

}  // namespace plumb::cpu

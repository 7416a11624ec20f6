// Sums over rows, feature by feature, taken by several threads: the one shape of reduction that gradients of
// parameters and column moments share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/workspace_carver.h"
#include "core/parallel_for.h"

namespace plumb::cpu {

/// A number of arrays of `cols` sums per thread. A row is added in fp32 by a vectorised loop over features
/// (no horizontal sums); every kBlockRows rows that goes into float64; threads are combined in thread order.
class ThreadColumns {
 public:
  static constexpr int kBlockRows = 64;

  ThreadColumns(WorkspaceCarver& carver, int arrays, std::int64_t cols)
      : cols_(cols), stride_((cols + 15) / 16 * 16), entries_(arrays * stride_) {
    if (entries_ == 0) return;
    threads_ = thread_count();
    active_ = carver.take<std::int32_t>(threads_);
    blocks_ = carver.take<float>(threads_ * entries_);
    totals_ = carver.take<double>(threads_ * entries_);
    if (active_ != nullptr) std::fill(active_, active_ + threads_, 0);
  }

  /// One thread's sums, used inside a parallel chunk.
  class Partial {
   public:
    Partial(float* block, double* total, std::int64_t stride, std::int64_t entries)
        : block_(block), total_(total), stride_(stride), entries_(entries) {
      std::fill(block_, block_ + entries_, 0.0F);
      std::fill(total_, total_ + entries_, 0.0);
    }
    /// Where a row adds to array `index`; null when there are no arrays.
    float* array(int index) const { return block_ + index * stride_; }
    /// What has gone into float64 so far; a row that fp32 cannot hold adds here instead of to array().
    double* total(int index) const { return total_ + index * stride_; }
    /// After each row, or each few of them.
    void end_rows(int count) {
      rows_ += count;
      if (rows_ >= kBlockRows) flush();
    }
    /// Once, after the chunk's last row.
    void flush() {
#pragma omp simd
      for (std::int64_t i = 0; i < entries_; ++i) {
        total_[i] += static_cast<double>(block_[i]);
        block_[i] = 0.0F;
      }
      rows_ = 0;
    }

   private:
    float* block_;
    double* total_;
    std::int64_t stride_, entries_;
    int rows_ = 0;
  };

  Partial begin(int thread) const {
    if (entries_ == 0) return Partial(nullptr, nullptr, 0, 0);
    active_[thread] = 1;
    return Partial(blocks_ + thread * entries_, totals_ + thread * entries_, stride_, entries_);
  }

  /// After the parallel region: adds up the threads, so that total() can be read.
  void combine() const {
    if (entries_ == 0) return;
    if (active_[0] == 0) std::fill(totals_, totals_ + entries_, 0.0);
    for (int thread = 1; thread < threads_; ++thread) {
      if (active_[thread] == 0) continue;
      const double* other = totals_ + thread * entries_;
#pragma omp simd
      for (std::int64_t i = 0; i < entries_; ++i) totals_[i] += other[i];
    }
  }
  const double* total(int array) const { return totals_ + array * stride_; }

  /// out[i % features] += total(array)[i] * factor[i] (a null factor is 1): `features` divides cols.
  void add_to(float* out, std::int64_t features, int array, const float* factor) const {
    for (std::int64_t feature = 0; feature < features; ++feature) {
      double sum = 0;
      for (std::int64_t i = feature; i < cols_; i += features)
        sum += total(array)[i] * (factor != nullptr ? static_cast<double>(factor[i]) : 1.0);
      out[feature] = static_cast<float>(out[feature] + sum);
    }
  }

 private:
  std::int64_t cols_, stride_, entries_;
  int threads_ = 0;
  std::int32_t* active_ = nullptr;
  float* blocks_ = nullptr;
  double* totals_ = nullptr;
};

}  // namespace plumb::cpu

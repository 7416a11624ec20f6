// The moments of one row (backend/ops/moments.h), taken value by value in float64: the squares of finite fp32
// values, huge or tiny, are in its range, and an H100 adds float64 at half the rate of fp32.
#pragma once

#include <cmath>
#include <cstdint>

#include "backends/cuda/device/reduce.cuh"
#include "core/dtype.h"
#include "core/maximum.h"

namespace plumb::cuda {

/// A row, or one thread's part of it. The spread is taken about the first value that the thread meets, so
/// that neither a large mean cancels nor a second pass is needed.
class RowMoments {
 public:
  __device__ __forceinline__ void add(float value) {
    if (count_ == 0) pivot_ = value;
    ++count_;
    const double wide = static_cast<double>(value), deviation = wide - static_cast<double>(pivot_);
    squares_ += wide * wide;
    sum_ += deviation;
    sum_squares_ += deviation * deviation;
  }

  /// The row's sum of squares and biased variance, from the parts that the lanes of a warp have.
  struct Result {
    double squares, variance;
  };
  __device__ __forceinline__ Result over_warp() const {
    Spread spread{static_cast<double>(count_), 0, 0};
    if (count_ > 0) {
      const double mean = sum_ / spread.count;
      spread.mean = static_cast<double>(pivot_) + mean;
      spread.squares = sum_squares_ - sum_ * mean;
    }
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      const Spread other{__shfl_xor_sync(kWholeWarp, spread.count, offset),
                         __shfl_xor_sync(kWholeWarp, spread.mean, offset),
                         __shfl_xor_sync(kWholeWarp, spread.squares, offset)};
      spread = united(spread, other);
    }
    return {warp_reduce(squares_, Add{}), spread.count > 0 ? spread.squares / spread.count : 0.0};
  }

 private:
  /// Values by their number, mean and sum of squares about the mean.
  struct Spread {
    double count, mean, squares;
  };
  /// Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979).
  static __device__ __forceinline__ Spread united(const Spread& a, const Spread& b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    const double count = a.count + b.count, difference = b.mean - a.mean;
    return {count, a.mean + difference * (b.count / count),
            a.squares + b.squares + difference * difference * (a.count * b.count / count)};
  }

  int count_ = 0;
  float pivot_ = 0;
  double squares_ = 0, sum_ = 0, sum_squares_ = 0;  // the last two about the pivot
};

/// What needs no rows: over all values that a thread meets.
struct EntryMoments {
  double sum = 0, sum_abs = 0, sum_fourth = 0;
  float max_abs = 0;
  int overflows = 0;

  __device__ __forceinline__ void add(float value) {
    const float magnitude = fabsf(value);
    const double wide = static_cast<double>(value), square = wide * wide;
    sum += wide;
    sum_abs += static_cast<double>(magnitude);
    sum_fourth += square * square;
    max_abs = maximum_or_nan(max_abs, magnitude);
    overflows += !(magnitude <= kLargestFloat16);
  }
};

}  // namespace plumb::cuda

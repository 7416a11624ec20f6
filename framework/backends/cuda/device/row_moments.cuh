// Moments (backend/ops/moments.h) as kernels take them, value by value in float64: the powers of finite fp32
// values, huge or tiny, are in its range, and an H100 adds float64 at half the rate of fp32.
#pragma once

#include <cmath>
#include <cstdint>

#include "backend/ops/alignment.h"
#include "backend/ops/moments.h"
#include "backends/cuda/device/reduce.cuh"
#include "core/dtype.h"

namespace plumb::cuda {

/// A row, or one thread's part of it.
struct RowMoments {
  double sum = 0, squares = 0;
};

/// What needs no rows: over all values that a thread meets.
struct EntryMoments {
  double sum_abs = 0, sum_fourth = 0;
  float max_abs = 0;
  int overflows = 0;

  __device__ __forceinline__ void add(float value, RowMoments& row) {
    const float magnitude = fabsf(value);
    const double wide = static_cast<double>(value), square = wide * wide;
    row.sum += wide;
    row.squares += square;
    sum_abs += fabs(wide);
    sum_fourth += square * square;
    max_abs = maximum_or_nan(max_abs, magnitude);
    overflows += !(magnitude <= kLargestFloat16);
  }
};

/// Over the rows of one team of threads. No member has an initialiser, so that it may be shared memory.
struct TeamMoments {
  double sum, squares, variances, largest_squares;

  /// A whole row of `width` entries.
  __device__ __forceinline__ void add_row(double row_sum, double row_squares, int width) {
    // The difference of two numbers that are exact to 53 bits, from values of at most 24: what cancels was
    // not in the values.
    const double mean = row_sum / width, variance = row_squares / width - mean * mean;
    sum += row_sum;
    squares += row_squares;
    variances += variance < 0 ? 0 : variance;
    largest_squares = maximum_or_nan(largest_squares, row_squares);
  }
};

/// As TeamMoments, for backend/ops/alignment.h.
struct TeamAlignment {
  double cosine, ratio, product, zero_rows;

  __device__ __forceinline__ void add_row(double x_square, double z_square, double row_product) {
    product += row_product;
    if (x_square == 0 || z_square == 0) {
      zero_rows += 1;
      return;
    }
    const double x_norm = sqrt(x_square), z_norm = sqrt(z_square);
    cosine += row_product / (x_norm * z_norm);
    ratio += z_norm / x_norm;
  }
};

/// Leaves the sums of a block of kThreads threads as its column of partials (scalars, blocks); all threads of
/// the block call it. `team`: zeros in all threads of a team but one.
template <int kThreads>
__device__ void leave_moments(double* partials, std::int64_t rows, const EntryMoments& entries,
                              const TeamMoments& team, double* scratch) {
  const auto leave = [&](int scalar, double value, auto operation) {
    const double total = block_reduce<kThreads>(value, operation, scratch);
    if (threadIdx.x == 0) partials[std::int64_t{scalar} * gridDim.x + blockIdx.x] = total;
  };
  if (threadIdx.x == 0)
    partials[std::int64_t{kMomentRows} * gridDim.x + blockIdx.x] = static_cast<double>(rows);
  leave(kMomentSumAbs, entries.sum_abs, Add{});
  leave(kMomentSumSquares, team.squares, Add{});
  leave(kMomentSumRowVariance, team.variances, Add{});
  leave(kMomentOverflows, static_cast<double>(entries.overflows), Add{});
  leave(kMomentSum, team.sum, Add{});
  leave(kMomentSumFourth, entries.sum_fourth, Add{});
  leave(kMomentMaxAbs, static_cast<double>(entries.max_abs), MaximumOrNan{});
  leave(kMomentMaxRowSquares, team.largest_squares, MaximumOrNan{});
}

template <int kThreads>
__device__ void leave_alignment(double* partials, const TeamAlignment& team, double* scratch) {
  const auto leave = [&](int scalar, double value) {
    const double total = block_reduce<kThreads>(value, Add{}, scratch);
    if (threadIdx.x == 0) partials[std::int64_t{scalar} * gridDim.x + blockIdx.x] = total;
  };
  leave(kAlignmentCosine, team.cosine);
  leave(kAlignmentRatio, team.ratio);
  leave(kAlignmentProduct, team.product);
  leave(kAlignmentZeroRows, team.zero_rows);
}

}  // namespace plumb::cuda

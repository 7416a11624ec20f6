// Moments (backend/ops/moments.h) as kernels take them. fp32 and fp16: value by value in float64, in whose
// range the powers of finite fp32 values are. bf16: a pack of values at a time in fp32, scaled by a power of
// two, and their sums on to float64 (docs/design/cuda.md, "Statistics in the kernels").
#pragma once

#include <cmath>
#include <cstdint>

#include "backend/ops/alignment.h"
#include "backend/ops/moments.h"
#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "core/dtype.h"

namespace plumb::cuda {

/// A row, or one thread's part of it.
struct RowMoments {
  double sum = 0, squares = 0;
};

/// A power of two, and by what to multiply sums of scaled values, of their squares and of their fourth
/// powers.
struct PackScale {
  float down;
  double up, squares, fourths;

  /// The one that brings `largest` into [1, 4); 1 where it is not finite. No power of what is scaled by it
  /// leaves the range of fp32, but for what adds nothing to the largest.
  explicit __device__ __forceinline__ PackScale(float largest) {
    constexpr int kBias = 127, kMantissa = 23, kNotFinite = 255, kWideBias = 1023, kWideMantissa = 52;
    const auto exponent = static_cast<int>(__float_as_uint(largest) >> kMantissa);
    int chosen = 2 * kBias - exponent;
    if (chosen < 1) chosen = exponent == kNotFinite ? kBias : 1;
    down = __uint_as_float(static_cast<unsigned>(chosen) << kMantissa);
    up = __longlong_as_double(static_cast<long long>(kWideBias + kBias - chosen) << kWideMantissa);
    squares = up * up;
    fourths = squares * squares;
  }
};

/// The largest magnitude of a pack, of values that are numbers.
template <int kPack>
__device__ __forceinline__ float largest_of(const float (&values)[kPack]) {
  float largest = 0;
#pragma unroll
  for (int j = 0; j < kPack; ++j) largest = fmaxf(largest, fabsf(values[j]));
  return largest;
}

/// Whether products of two values have few enough bits for sums of a pack of them in fp32.
template <class T>
inline constexpr bool kSumsPacks = std::is_same_v<T, __nv_bfloat16>;

/// What needs no rows: over all values that a thread meets.
struct EntryMoments {
  double sum_abs = 0, sum_fourth = 0;
  float max_abs = 0;
  int overflows = 0;

  /// Values of T; those that are not there are 0.
  template <class T, int kPack>
  __device__ __forceinline__ void add(const float (&values)[kPack], RowMoments& row) {
    if constexpr (kSumsPacks<T>) {
      const float largest = largest_of(values);
      add_pack(values, largest, PackScale(largest), row);
    } else {
#pragma unroll
      for (int j = 0; j < kPack; ++j) add_value(values[j], row);
    }
  }

  template <int kPack>
  __device__ __forceinline__ void add_pack(const float (&values)[kPack], float largest,
                                           const PackScale& scale, RowMoments& row) {
    float sum = 0, magnitudes = 0, squares = 0, fourths = 0;
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      const float value = values[j] * scale.down, square = value * value;
      sum += value;
      magnitudes += fabsf(value);
      squares += square;
      fourths += square * square;
    }
    row.sum += static_cast<double>(sum) * scale.up;
    row.squares += static_cast<double>(squares) * scale.squares;
    sum_abs += static_cast<double>(magnitudes) * scale.up;
    sum_fourth += static_cast<double>(fourths) * scale.fourths;
    // Magnitudes add up to a NaN only where there is one.
    const float met = magnitudes != magnitudes ? magnitudes : largest;
    max_abs = maximum_or_nan(max_abs, met);
    if (met <= kLargestFloat16) return;
#pragma unroll
    for (int j = 0; j < kPack; ++j) overflows += !(fabsf(values[j]) <= kLargestFloat16);
  }

  __device__ __forceinline__ void add_value(float value, RowMoments& row) {
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

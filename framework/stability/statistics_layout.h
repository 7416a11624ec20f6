// Where every statistic of a step lies: in the device buffer and in the two messages that cross ranks.
#pragma once

#include <cstdint>

#include "backend/ops/head_loss.h"
#include "backend/ops/moments.h"
#include "stability/step_record.h"

namespace plumb {

/// First entries of the row that every rank contributes in every step.
enum RowEntry : int {
  kRowTargets = 0,  ///< targets of this rank
  kRowCrossEntropy,
  kRowLogZ,
  kRowLogZSquared,
  kRowMaxLogit,
  kRowMaxAbs,
  kRowGradientSquare,  ///< sum over tensors of gradient_squares_local
  kRowStepSeconds,
  kRowWaitSeconds,
  kRowOverflows,      ///< sum of kMomentOverflows over probes
  kRowStopRequested,  ///< 1 when this rank was asked to save and end
  kRowEntries
};

/// Rank-local values whose extremes are kept from one sampled step to the next.
enum TrackedValue : int { kTrackedMeanAbs = 0, kTrackedEntryVariance, kTrackedMaxAbs, kTrackedValues };

/// Sums of a probe that add up over ranks exactly: the first entries of MomentScalar.
inline constexpr int kSummedMoments = kMomentMaxAbs;

/// Offsets in float64 elements. K sublayers, M = 2K+1 probes: stream 0..K, then branch 0..K-1.
///
/// Device buffer; [0, columns) is zeroed and read in every step (but max logit starts at -infinity), the rest
/// in sampled ones:
///   loss (kHeadLossSums) | moments (M, kMomentScalars) | gradient (M): squares of dL/dx of the probes
///   | tensors (P): local gradient squares | columns: column_sum (M, C), column_square (M, C)
/// All-reduce (sum) of a sampled step:
///   moments (M, kSummedMoments) | gradient (M) | column_sum (M, C) | column_square (M, C)
/// All-gather, one row per rank: (kRowEntries), and in a sampled step also
///   (M): max_abs | (M): largest squared row_norm | (M, kTrackedValues): minima | the same: maxima
///   | (P): local gradient squares
struct StatisticsLayout {
  explicit StatisticsLayout(const StatisticsShape& shape)
      : probes(2 * shape.sublayers + 1),
        width(shape.width),
        loss(0),
        moments(kHeadLossSums),
        gradient(moments + probes * kMomentScalars),
        tensors(gradient + probes),
        columns(tensors + shape.tensors),
        device_elements(columns + 2 * probes * width),
        sum_gradient(probes * kSummedMoments),
        sum_columns(sum_gradient + probes),
        sum_elements(sum_columns + 2 * probes * width),
        row_max_abs(kRowEntries),
        row_max_row_squares(row_max_abs + probes),
        row_minima(row_max_row_squares + probes),
        row_maxima(row_minima + probes * kTrackedValues),
        row_tensors(row_maxima + probes * kTrackedValues),
        row_elements(row_tensors + shape.tensors) {}

  std::int64_t probes, width;
  std::int64_t loss, moments, gradient, tensors, columns, device_elements;
  std::int64_t sum_gradient, sum_columns, sum_elements;
  std::int64_t row_max_abs, row_max_row_squares, row_minima, row_maxima, row_tensors, row_elements;
};

}  // namespace plumb

// Observations: statistics of tensors that no other kernel has at hand when it would be cheap to take them.
// Each is one pass over its tensor; all but row_squares are taken at written steps only.
#pragma once

#include "backend/magnitude_bins.h"
#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// Sums of squares of a gradient, whole and of its largest row (one row = one token).
struct RowSquares {
  Tensor x;        ///< (R, C) compute dtype
  Tensor sum;      ///< (1) float64, +=: sum of x^2; with finite entries finite, whatever their size
  Tensor largest;  ///< (1) float64, max=: max over r of sum_i x_ri^2, a NaN wins; empty = not wanted
  Workspace workspace;
};

struct CountAbove {
  Tensor x;  ///< (R, C) compute or master dtype
  double threshold = 0;
  Tensor count;  ///< (1) float64, +=: number of entries > threshold; +inf is one, NaN is none
  Workspace workspace;
};

/// Of DyT and Derf (backend/ops/norm.h), whose function is flat there.
struct CountSaturated {
  Tensor x;       ///< (R, C) compute dtype
  Tensor alpha;   ///< (1) master dtype
  Tensor offset;  ///< (1) master dtype: Derf's s; empty = 0
  double limit = 2;
  Tensor count;  ///< (1) float64, +=: number of entries with |alpha x + offset| > limit; NaN is none
  Workspace workspace;
};

/// A unit of a ReLU is dead when its largest pre-activation over all tokens is not above 0.
struct ColumnMaxima {
  Tensor x;       ///< (R, C) compute dtype
  Tensor bias;    ///< (C) master dtype; empty = 0
  Tensor maxima;  ///< (C) float64, max=: max over r of x_ri, plus bias_i; a NaN wins; -inf before the first
  Workspace workspace;
};

struct MagnitudeHistogram {
  Tensor x;       ///< (R, C) compute dtype
  Tensor counts;  ///< (kMagnitudeBins) float64, +=: whole numbers (backend/magnitude_bins.h)
  Workspace workspace;
};

/// Indices into TokenSimilarity::sums.
enum SimilaritySum : int {
  kSimilarity = 0,       ///< sum over sequences of the mean cosine of two different tokens of it
  kSimilaritySequences,  ///< number of sequences
  kSimilaritySums        ///< how many there are
};

/// The mean over all pairs s != t of the T rows of a sequence of cos(x_s, x_t), from the sum of the rows
/// scaled to length 1: (|sum_t u_t|^2 - n) / (T (T - 1)), where n is T less the rows of zeros, which are at a
/// cosine of 0 to all others.
struct TokenSimilarity {
  Tensor x;                            ///< (R, C) compute dtype, R a multiple of T
  std::int64_t rows_per_sequence = 1;  ///< T; with 1 there are no pairs and nothing is added
  Tensor sums;                         ///< (kSimilaritySums) float64, +=; NaN where an entry is not finite
  Workspace workspace;
};

/// Rows may be strided. What is added does not depend on the number of threads.
class ObservationOps {
 public:
  virtual ~ObservationOps() = default;
  virtual void row_squares(Stream& stream, const RowSquares& arguments) const = 0;
  virtual void count_above(Stream& stream, const CountAbove& arguments) const = 0;
  virtual void count_saturated(Stream& stream, const CountSaturated& arguments) const = 0;
  virtual void column_maxima(Stream& stream, const ColumnMaxima& arguments) const = 0;
  virtual void magnitude_histogram(Stream& stream, const MagnitudeHistogram& arguments) const = 0;
  virtual void token_similarity(Stream& stream, const TokenSimilarity& arguments) const = 0;
  virtual std::size_t row_squares_workspace(const RowSquares& arguments) const = 0;
  virtual std::size_t count_above_workspace(const CountAbove& arguments) const = 0;
  virtual std::size_t count_saturated_workspace(const CountSaturated& arguments) const = 0;
  virtual std::size_t column_maxima_workspace(const ColumnMaxima& arguments) const = 0;
  virtual std::size_t magnitude_histogram_workspace(const MagnitudeHistogram& arguments) const = 0;
  virtual std::size_t token_similarity_workspace(const TokenSimilarity& arguments) const = 0;
};

}  // namespace plumb

// Moments: partial sums over the rows of one probed tensor. They add up over micro-batches and ranks, so that
// a cross-rank statistic is exact; they are the only thing that forward kernels emit for the statistics.
#pragma once

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// Indices into MomentsView::scalars. All are sums over rows except the Max ones at the end, which are
/// maxima. Row variance is the biased variance of the C entries of one row about the row's own mean.
enum MomentScalar : int {
  kMomentRows = 0,        ///< number of rows
  kMomentSumAbs,          ///< sum |x_ri| over rows and features
  kMomentSumSquares,      ///< sum x_ri^2
  kMomentSumRowVariance,  ///< sum_r Var_i(x_ri)
  kMomentOverflows,       ///< number of entries that fp16 cannot hold: |x_ri| > 65504, infinite or NaN
  kMomentSum,             ///< sum x_ri over rows and features
  kMomentSumFourth,       ///< sum x_ri^4 over rows and features
  kMomentMaxAbs,          ///< max |x_ri|
  kMomentMaxRowSquares,   ///< max_r sum_i x_ri^2 : the square of the largest row_norm
  kMomentScalars          ///< how many there are
};

/// Views into the statistics buffer; all float64 on every backend, accumulated: sums with +=, maxima with
/// max, where a NaN wins. Finite entries of fp32 and narrower dtypes give finite moments, whatever their
/// size. An entry that is not finite makes every moment but the numbers of rows and overflows what IEEE
/// arithmetic makes of its formula. The owner zeroes them at the start of a step. Column sums are taken about
/// `shift`, which every rank holds alike (the last sampled step's global column mean), so that data-wise
/// variance does not cancel.
struct MomentsView {
  Tensor scalars;        ///< (kMomentScalars)
  Tensor column_sum;     ///< (C) sum_r (x_ri - shift_i); empty = column moments not wanted
  Tensor column_square;  ///< (C) sum_r (x_ri - shift_i)^2
  Tensor shift;          ///< (C)

  bool defined() const { return scalars.defined(); }
};

struct MomentsArguments {
  Tensor x;  ///< (R, C) compute dtype
  MomentsView moments;
  Workspace workspace;
};

class MomentsOps {
 public:
  virtual ~MomentsOps() = default;
  /// Adds the moments of x. Accumulates in at least fp32 per row and float64 across rows, in a fixed order.
  virtual void moments(Stream& stream, const MomentsArguments& arguments) const = 0;
  virtual std::size_t moments_workspace(const MomentsArguments& arguments) const = 0;
};

}  // namespace plumb

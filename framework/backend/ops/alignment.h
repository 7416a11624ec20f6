// Alignment: how a branch lies to the stream that it is added to, row by row (one row = one token).
#pragma once

#include "core/tensor.h"

namespace plumb {

/// Indices into AlignmentView::scalars; all are sums over rows, with x the stream before the branch is added
/// and z the branch before its residual step b. A row in which |x| or |z| is 0 has no angle: it counts 0 in
/// cosine and ratio and 1 in zero rows. How many rows there are is kMomentRows of the branch's moments.
/// With rho = b |z|/|x| and kappa = cos(x, z), |x + b z|^2 = |x|^2 (1 + rho^2 + 2 rho kappa).
enum AlignmentScalar : int {
  kAlignmentCosine = 0,  ///< sum_r x_r.z_r / (|x_r| |z_r|)
  kAlignmentRatio,       ///< sum_r |z_r| / |x_r|
  kAlignmentProduct,     ///< sum_r x_r.z_r
  kAlignmentZeroRows,    ///< number of rows with |x_r| = 0 or |z_r| = 0
  kAlignmentScalars      ///< how many there are
};

/// A view into the statistics buffer, float64 on every backend, accumulated (+=); the owner zeroes it at the
/// start of a step. Finite entries of fp32 and narrower dtypes give finite sums, whatever their size. An
/// entry that is not finite makes cosine, ratio and product what IEEE arithmetic makes of the formulas (NaN:
/// all three; infinite z: a NaN cosine and an infinite ratio).
struct AlignmentView {
  Tensor scalars;  ///< (kAlignmentScalars)

  bool defined() const { return scalars.defined(); }
};

}  // namespace plumb

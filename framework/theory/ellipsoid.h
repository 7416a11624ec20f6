// Lemma 1 of arXiv 2510.09904 as an assertion on sampled rows: what leaves a layer norm lies on an ellipsoid.
#pragma once

#include <cstdint>
#include <span>

#include "backend/ops/norm.h"

namespace plumb {

/// How far rows are from {z : (z - beta)^T Gamma^-2 (z - beta) = D}, taken on the un-gained row x_hat (z =
/// g x_hat + beta), for the gain may be 0. With the norm's eps written out:
///   layernorm  |x_hat|^2 = D var / (var + eps)      rmsnorm  D ms / (ms + eps)      l2  |x|^2 / (|x|^2 +
///   eps)
/// Proof: docs/design/theory.md.
struct EllipsoidCheck {
  std::int64_t rows = 0;  ///< that were looked at
  double worst = 0;       ///< largest relative error of |x_hat|^2; NaN if a row has one
  std::int64_t worst_row = -1;
  std::int64_t small_rows = 0;  ///< rows whose variance is below 10 eps: eps decides much of them
};

/// x: rows of `width` entries that entered the norm; mean and rstd of every row as the forward pass left
/// them, so that what is checked is the kernel's own x_hat = (x - mean) rstd. mean is not read but for
/// layernorm.
EllipsoidCheck check_ellipsoid(NormKind kind, double epsilon, std::int64_t width, std::span<const double> x,
                               std::span<const double> mean, std::span<const double> rstd);

}  // namespace plumb

// Normalisation: every norm slot of the block equation, and the inner ones per head.
#pragma once

#include "backend/ops/coefficient.h"
#include "backend/ops/moments.h"
#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// With v one group of D entries of a row, g gain, h bias (each missing one is 1 or 0):
///   LayerNorm  g (v - mean v) / sqrt(var v + eps) + h      biased variance
///   RmsNorm    g v / sqrt(mean v^2 + eps) + h              arXiv 1910.07467
///   L2         g v / sqrt(sum v^2 + eps) + h
///   None       v                                           the identity: only `scale` acts
///   DyT        g tanh(alpha v) + h                         arXiv 2503.10622, alpha a trainable scalar
///   Derf       g erf(alpha v + s) + h                      arXiv 2512.10938, alpha and s trainable scalars
enum class NormKind { None, LayerNorm, RmsNorm, DyT, Derf, L2 };

struct NormForward {
  NormKind kind = NormKind::LayerNorm;
  double epsilon = 1e-5;
  std::int64_t groups =
      1;  ///< a row of x holds `groups` vectors of D = cols/groups entries, normed one by one
  std::int64_t rows_per_sequence = 1;  ///< for `scale`
  Tensor x;                            ///< (R, groups*D) compute dtype, row_stride honoured
  Tensor y;                            ///< like x; must not overlap x
  Tensor gain;                         ///< (D) shared by the groups, or (groups*D); master dtype; empty = 1
  Tensor bias;                         ///< like gain; empty = 0
  Tensor alpha;                        ///< (1) master dtype: DyT, Derf
  Tensor offset;                       ///< (1) master dtype: Derf's s
  Coefficient scale;                   ///< multiplies the result: c after N_in, p after N_post
  Tensor mean;                         ///< out (R, groups) master dtype: LayerNorm
  Tensor rstd;          ///< out (R, groups) master dtype: 1/sqrt(. + eps) of LayerNorm, RmsNorm, L2
  MomentsView moments;  ///< of y (after scale), if defined
  Workspace workspace;
};

struct NormBackward {
  NormKind kind = NormKind::LayerNorm;
  double epsilon = 1e-5;
  std::int64_t groups = 1;
  std::int64_t rows_per_sequence = 1;
  Tensor x, gain, bias, alpha, offset, mean, rstd;  ///< as in forward
  Coefficient scale;
  Tensor dy;                             ///< (R, groups*D) gradient of the scaled result
  Tensor dx;                             ///< (R, groups*D) out; may be the same view as dy
  bool accumulate_dx = false;            ///< dx += instead of = (dx must then not be dy)
  Tensor dgain, dbias, dalpha, doffset;  ///< shapes of the parameters, master dtype, +=; empty = frozen
  CoefficientGradient dscale;
  Workspace workspace;
};

class NormOps {
 public:
  virtual ~NormOps() = default;
  virtual void norm_forward(Stream& stream, const NormForward& arguments) const = 0;
  virtual void norm_backward(Stream& stream, const NormBackward& arguments) const = 0;
  /// Bytes of workspace for these shapes (data pointers are not looked at).
  virtual std::size_t norm_forward_workspace(const NormForward& arguments) const = 0;
  virtual std::size_t norm_backward_workspace(const NormBackward& arguments) const = 0;
};

}  // namespace plumb

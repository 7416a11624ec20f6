// The residual combine of the block equation: s = a x + b z + e x_block, and p s where no N_post follows.
#pragma once

#include "backend/ops/alignment.h"
#include "backend/ops/coefficient.h"
#include "backend/ops/moments.h"
#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

struct ResidualForward {
  std::int64_t rows_per_sequence = 1;  ///< T: row r belongs to sequence r / T
  Tensor x, z;                         ///< (R, C) compute dtype: stream and branch
  Tensor x_block;                      ///< (R, C) stream at the start of the block; empty = no e term
  Tensor out;                          ///< (R, C); may be the same view as z, not as x
  Coefficient a, b, e;                 ///< skip, branch and block-skip coefficients
  Coefficient p;               ///< output scale (constant 1 when N_post follows: the norm then applies it)
  bool tie_skip = false;       ///< a := 1 - b element by element (nGPT); `a` must be the constant 1
  MomentsView stream_moments;  ///< of out, if defined
  MomentsView branch_moments;  ///< of z, if defined
  AlignmentView alignment;     ///< of x and z, if defined
  Workspace workspace;
};

struct ResidualBackward {
  std::int64_t rows_per_sequence = 1;
  Tensor x, z, x_block;  ///< as in forward; needed only for the coefficient gradients that are asked for
  Coefficient a, b, e, p;
  bool tie_skip = false;
  Tensor dout;                         ///< (R, C)
  Tensor dx;                           ///< (R, C) out, overwritten; may be the same view as dout
  Tensor dz;                           ///< (R, C) out, overwritten
  Tensor dx_block;                     ///< (R, C) out, accumulated (+=); empty = no e term
  CoefficientGradient da, db, de, dp;  ///< with tie_skip, db holds the whole derivative, also through a
  Workspace workspace;
};

class ResidualOps {
 public:
  virtual ~ResidualOps() = default;
  virtual void residual_forward(Stream& stream, const ResidualForward& arguments) const = 0;
  virtual void residual_backward(Stream& stream, const ResidualBackward& arguments) const = 0;
  virtual std::size_t residual_forward_workspace(const ResidualForward& arguments) const = 0;
  virtual std::size_t residual_backward_workspace(const ResidualBackward& arguments) const = 0;
};

}  // namespace plumb

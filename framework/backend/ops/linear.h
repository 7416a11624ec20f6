// Matrix products with weights: y = x W^T + bias and its two gradients.
#pragma once

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

struct LinearForward {
  Tensor x;       ///< (R, K) compute dtype, row_stride honoured
  Tensor weight;  ///< (N, K) compute dtype, contiguous
  Tensor bias;    ///< (N) master dtype; empty = none
  Tensor y;       ///< (R, N) compute dtype, row_stride honoured
  Workspace workspace;
};

struct LinearBackwardInput {
  Tensor dy;                ///< (R, N) compute dtype
  Tensor weight;            ///< (N, K) compute dtype
  Tensor dx;                ///< (R, K) compute dtype
  bool accumulate = false;  ///< dx += instead of =
  Workspace workspace;
};

struct LinearBackwardWeight {
  Tensor dy;       ///< (R, N) compute dtype
  Tensor x;        ///< (R, K) compute dtype
  Tensor dweight;  ///< (N, K) master dtype
  Tensor dbias;    ///< (N) master dtype, accumulated (+=); empty = none
  Workspace workspace;
  bool accumulate = true;  ///< dweight += instead of =, which does not read it
};

class LinearOps {
 public:
  virtual ~LinearOps() = default;
  /// Products accumulate in the master dtype (fp32 for bf16 inputs).
  virtual void linear_forward(Stream& stream, const LinearForward& arguments) const = 0;
  virtual void linear_backward_input(Stream& stream, const LinearBackwardInput& arguments) const = 0;
  virtual void linear_backward_weight(Stream& stream, const LinearBackwardWeight& arguments) const = 0;
  virtual std::size_t linear_forward_workspace(const LinearForward& arguments) const = 0;
  virtual std::size_t linear_backward_input_workspace(const LinearBackwardInput& arguments) const = 0;
  virtual std::size_t linear_backward_weight_workspace(const LinearBackwardWeight& arguments) const = 0;
};

}  // namespace plumb

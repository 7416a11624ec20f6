// Ops on parameters themselves, before or after the passes that use them.
#pragma once

#include <span>

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// From what a trainable coefficient stores to what it means, element by element:
///   Absolute      y = |x|               nGPT's alpha (arXiv 2410.01131)
///   OneMinusSilu  y = 1 - x sigmoid(x)  GPAS's gate (arXiv 2506.22049)
enum class CoefficientMapKind { Absolute, OneMinusSilu };

struct CoefficientMap {
  CoefficientMapKind kind = CoefficientMapKind::Absolute;
  Tensor x;  ///< (n) master dtype
  Tensor y;  ///< (n) master dtype out; must not overlap x
};

struct CoefficientMapBackward {
  CoefficientMapKind kind = CoefficientMapKind::Absolute;
  Tensor x;   ///< (n) as in forward
  Tensor dy;  ///< (n) master dtype
  Tensor dx;  ///< (n) master dtype, accumulated (+=); d|x|/dx is 0 at 0
};

/// weight with row v multiplied by scalar * gain[v]: what a gain per logit means for the head's matrix.
struct RowGain {
  Tensor x;       ///< (V, C) compute dtype
  Tensor scalar;  ///< (1) master dtype; empty = 1
  Tensor gain;    ///< (V) or (1) master dtype; empty = 1
  Tensor y;       ///< (V, C) compute dtype out; must not overlap x
};

struct RowGainBackward {
  Tensor x, scalar, gain;  ///< as in forward
  Tensor dy;               ///< (V, C) master dtype
  Tensor dx;               ///< (V, C) master dtype, accumulated (+=); must not overlap dy
  Tensor dgain;            ///< shape of gain (which must be there), master dtype, +=; empty = not wanted
  Workspace workspace;
};

/// A weight whose rows (each over its columns) or columns (each over the rows) are kept at unit 2-norm.
struct SphereWeight {
  Tensor value;          ///< (rows, cols) master dtype, in place
  Tensor compute_copy;   ///< compute dtype, rewritten from value; empty = none
  bool columns = false;  ///< normalise columns instead of rows
};

struct NormalizeSpheres {
  Tensor
      step_scalars;  ///< float64, ops/optimizer.h; nothing changes when its skip factor is 0; empty = always
  Workspace workspace;
};

class ParameterOps {
 public:
  virtual ~ParameterOps() = default;
  virtual void coefficient_map_forward(Stream& stream, const CoefficientMap& arguments) const = 0;
  virtual void coefficient_map_backward(Stream& stream, const CoefficientMapBackward& arguments) const = 0;
  virtual void row_gain_forward(Stream& stream, const RowGain& arguments) const = 0;
  virtual void row_gain_backward(Stream& stream, const RowGainBackward& arguments) const = 0;
  virtual std::size_t row_gain_backward_workspace(const RowGainBackward& arguments) const = 0;
  /// A row or column of zeros stays as it is. Sums of squares in a fixed order, in at least fp32 with float64
  /// across blocks.
  virtual void normalize_spheres(Stream& stream, const NormalizeSpheres& arguments,
                                 std::span<const SphereWeight> weights) const = 0;
  virtual std::size_t normalize_spheres_workspace(std::span<const SphereWeight> weights) const = 0;
};

}  // namespace plumb

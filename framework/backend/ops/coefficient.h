// Coefficient: the knobs a, b, c, e, p of the block equation (docs/design/block_equation.md) as ops see them.
#pragma once

#include "core/tensor.h"

namespace plumb {

/// The value of a knob at row r (of sequence r / rows_per_sequence) and feature i is the product of up to
/// three factors, each read from device memory when the op runs (so a captured step needs no new arguments):
///   scalar[0]  *  feature[i or 0]  *  sequence[r / rows_per_sequence].
/// An empty tensor is the factor 1; a Coefficient of three empty tensors is the constant 1.
struct Coefficient {
  Tensor scalar;    ///< (1) master dtype: fixed or scheduled over depth and time (not trained)
  Tensor feature;   ///< (1) or (C) master dtype: trainable scalar or vector
  Tensor sequence;  ///< (sequences) master dtype: Bernoulli factor per sequence, already rescaled
  bool stop_gradient =
      false;  ///< backward treats the *factor on the data* as 1 (GPAS); its own gradient stays

  bool is_one() const { return !scalar.defined() && !feature.defined() && !sequence.defined(); }
};

/// Gradient of the trainable factor: (1) or (C), master dtype, accumulated (+=); empty = not wanted.
struct CoefficientGradient {
  Tensor feature;
};

}  // namespace plumb

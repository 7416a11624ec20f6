// Small ops over whole tensors.
#pragma once

#include <span>

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

struct GroupGain {
  std::int64_t groups = 1;  ///< head h of a row = columns [h*D, (h+1)*D)
  Tensor x;                 ///< (R, groups*D) compute dtype
  Tensor gain;              ///< (groups) master dtype
  Tensor y;                 ///< like x; may be the same view
};

struct GroupGainBackward {
  std::int64_t groups = 1;
  Tensor x, gain;
  Tensor dy;
  Tensor dx;     ///< may be the same view as dy
  Tensor dgain;  ///< (groups) master dtype, +=
  Workspace workspace;
};

/// One trainable number added to every entry (Fixup, arXiv 1901.09321).
struct ScalarBias {
  Tensor x;     ///< (R, C) compute dtype, contiguous
  Tensor bias;  ///< (1) master dtype
  Tensor y;     ///< (R, C); may be the same view as x
};

struct ScalarBiasBackward {
  Tensor dy;     ///< (R, C) compute dtype; it is the gradient of x as well
  Tensor dbias;  ///< (1) master dtype, accumulated (+=)
  Workspace workspace;
};

struct SumOfSquares {
  Tensor squares;           ///< (n) float64 out, n = tensors in the list
  bool accumulate = false;  ///< squares += instead of =
  Workspace workspace;
};

/// For the comparison of replicas, bit by bit: two NaN of other bits, or 0 and -0, are different.
struct HashTensors {
  Tensor hashes;  ///< (n) int64 out, n = tensors in the list: the sum mod 2^64 of hash_of_word(w_i, i)
  Workspace workspace;
};

class ElementwiseOps {
 public:
  virtual ~ElementwiseOps() = default;
  /// Any dtype; the view may have a row_stride.
  virtual void fill(Stream& stream, const Tensor& x, double value) const = 0;
  /// Optional: fill of each of them (contiguous) with fewer launches.
  virtual void fill_all(Stream& stream, std::span<const Tensor> tensors, double value) const {
    for (const Tensor& tensor : tensors) fill(stream, tensor, value);
  }
  /// y = x, converted to y's dtype (round to nearest even); equal shapes; row_stride honoured.
  virtual void copy(Stream& stream, const Tensor& x, const Tensor& y) const = 0;
  /// y += x, rounded once to y's dtype.
  virtual void add(Stream& stream, const Tensor& x, const Tensor& y) const = 0;
  /// squares[i] = sum of x^2 of tensors[i] (contiguous, any floating dtype), in float64 and a fixed order.
  virtual void sum_of_squares(Stream& stream, const SumOfSquares& arguments,
                              std::span<const Tensor> tensors) const = 0;
  virtual std::size_t sum_of_squares_workspace(std::span<const Tensor> tensors) const = 0;
  /// The words w_i of a tensor (contiguous, any dtype) are the 32-bit words of its memory, low one first;
  /// where elements have 16 bits, each is a word.
  virtual void hash(Stream& stream, const HashTensors& arguments, std::span<const Tensor> tensors) const = 0;
  virtual std::size_t hash_workspace(std::span<const Tensor> tensors) const = 0;
  virtual void group_gain_forward(Stream& stream, const GroupGain& arguments) const = 0;
  virtual void group_gain_backward(Stream& stream, const GroupGainBackward& arguments) const = 0;
  virtual std::size_t group_gain_backward_workspace(const GroupGainBackward& arguments) const = 0;
  virtual void scalar_bias_forward(Stream& stream, const ScalarBias& arguments) const = 0;
  virtual void scalar_bias_backward(Stream& stream, const ScalarBiasBackward& arguments) const = 0;
  virtual std::size_t scalar_bias_backward_workspace(const ScalarBiasBackward& arguments) const = 0;
};

}  // namespace plumb

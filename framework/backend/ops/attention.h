// Scaled dot-product attention over heads, and rotary positions. (B,H,T,T) is never stored.
#pragma once

#include "backend/ops/random.h"
#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// Head h of a row is the columns [h*D, (h+1)*D). Logits s_ij = scale * q_i . k_j, with a soft cap > 0:
/// cap * tanh(s / cap). Causal: j <= i. Probabilities softmax_j(s), dropped out with probability `dropout`:
/// element (b, h, i, j) by uniform index (((first_sequence + b) * H + h) * T + i) * T + j. A pair (i, j) that
/// is masked contributes nothing in either direction, even where its q, k, v or gradients are not finite.
struct AttentionShape {
  std::int64_t batch = 1;   ///< B sequences
  std::int64_t tokens = 1;  ///< T
  std::int64_t heads = 1;   ///< H
  std::int64_t width = 1;   ///< D per head
  bool causal = true;
  double scale = 1;
  double soft_cap = 0;  ///< 0 = none
  double dropout = 0;
  RandomSite site;  ///< read only when dropout > 0
};

struct AttentionForward {
  AttentionShape shape;
  Tensor q, k, v;      ///< (B*T, H*D) compute dtype, row_stride honoured
  Tensor out;          ///< (B*T, H*D)
  Tensor log_sum_exp;  ///< out (B, H, T) master dtype
  Tensor max_logit;    ///< out (1) float64, maximum over all logits seen, combined with max; NaN, which wins,
                       ///< for a row whose log-sum-exp is NaN (a logit is NaN or +inf); empty = not wanted
  Tensor entropy_sums;  ///< (H) float64, += sum over the rows of a head of the entropy of their probabilities
                        ///< before dropout, in nats; empty = not wanted
  Workspace workspace;
};

struct AttentionBackward {
  AttentionShape shape;
  Tensor q, k, v, out, log_sum_exp;  ///< as in forward
  Tensor dout;                       ///< (B*T, H*D)
  Tensor dq, dk, dv;                 ///< (B*T, H*D) out, overwritten, row_stride honoured
  Workspace workspace;
};

/// Rotates pairs (i, i + D/2) of every head by angle t * base^(-2i/D), t = row % tokens (arXiv 2104.09864 in
/// the half-split layout); inverse = by the negative angle, which is its backward pass. D must be even.
struct Rotary {
  std::int64_t tokens = 1, heads = 1, width = 1;
  double base = 10000;
  bool inverse = false;
  Tensor x;  ///< (R, H*D) compute dtype, in place, row_stride honoured
};

class AttentionOps {
 public:
  virtual ~AttentionOps() = default;
  virtual void attention_forward(Stream& stream, const AttentionForward& arguments) const = 0;
  virtual void attention_backward(Stream& stream, const AttentionBackward& arguments) const = 0;
  virtual std::size_t attention_forward_workspace(const AttentionForward& arguments) const = 0;
  virtual std::size_t attention_backward_workspace(const AttentionBackward& arguments) const = 0;
  virtual void rotary(Stream& stream, const Rotary& arguments) const = 0;
  /// While memory is planned: makes tables that rotary keeps for these tokens, width and base (x is not
  /// looked at), so that it does not allocate in a step.
  virtual void prepare_rotary(const Rotary& arguments) const { static_cast<void>(arguments); }
};

}  // namespace plumb

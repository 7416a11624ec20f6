// The output head and its loss in one op. Logits exist in chunks: of rows and vocabulary, or of some rows.
#pragma once

#include <algorithm>

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// Logits l = h W^T (+ bias), with a soft cap > 0: cap * tanh(l / cap). For a row with target t >= 0:
///   loss_r = log Z - l_t + z_loss * (log Z)^2,   log Z = log sum_v exp(l_v);   target -1: not in the loss,
///   0.
struct HeadLossForward {
  double z_loss = 0;
  double soft_cap = 0;  ///< 0 = none
  Tensor h;             ///< (R, C) compute dtype
  Tensor weight;        ///< (V, C) compute dtype
  Tensor bias;          ///< (V) master dtype; empty = none
  Tensor targets;       ///< (R) int32
  Tensor log_z;         ///< out (R) master dtype
  Tensor sums;          ///< (kHeadLossSums) float64, accumulated, see below
  Workspace workspace;
};

/// Indices into HeadLossForward::sums. Sums over rows with a target; MaxLogit is a maximum over them,
/// NaN, which wins, for a row whose log Z is NaN (a logit is NaN or +inf).
enum HeadLossSum : int {
  kHeadLossRows = 0,      ///< rows with a target
  kHeadLossCrossEntropy,  ///< sum of log Z - l_t (nats), without the z-loss term
  kHeadLossLogZ,          ///< sum of log Z
  kHeadLossLogZSquared,   ///< sum of (log Z)^2
  kHeadLossMaxLogit,      ///< max l_v
  kHeadLossSums
};

struct HeadLossBackward {
  double z_loss = 0;
  double soft_cap = 0;
  double gradient_scale = 1;  ///< multiplies every row's gradient: 1 / (targets of the global batch)
  Tensor loss_scale = {};     ///< (1) float64, multiplies it as well (fp16); empty = 1
  Tensor h, weight, bias, targets, log_z;  ///< as in forward
  Tensor dh;                               ///< (R, C) compute dtype, overwritten
  Tensor dweight;                          ///< (V, C) master dtype
  Tensor dbias;                            ///< (V) master dtype, +=; empty = none
  Workspace workspace;
  bool accumulate = true;  ///< dweight += instead of =, which does not read it
};

/// Both passes over one micro-batch: the arguments of the two ops, of one head. Each has the workspace of
/// both.
struct HeadLossBoth {
  HeadLossForward forward;
  HeadLossBackward backward;
};

class HeadLossOps {
 public:
  virtual ~HeadLossOps() = default;
  virtual void head_loss_forward(Stream& stream, const HeadLossForward& arguments) const = 0;
  virtual void head_loss_backward(Stream& stream, const HeadLossBackward& arguments) const = 0;
  virtual std::size_t head_loss_forward_workspace(const HeadLossForward& arguments) const = 0;
  virtual std::size_t head_loss_backward_workspace(const HeadLossBackward& arguments) const = 0;

  /// Optional: whether head_loss_both is more than the two ops, and saves making the logits again.
  virtual bool joins_head_loss() const { return false; }
  /// What head_loss_forward and then head_loss_backward do, within their rounding.
  virtual void head_loss_both(Stream& stream, const HeadLossBoth& arguments) const {
    head_loss_forward(stream, arguments.forward);
    head_loss_backward(stream, arguments.backward);
  }
  virtual std::size_t head_loss_both_workspace(const HeadLossBoth& arguments) const {
    return std::max(head_loss_forward_workspace(arguments.forward),
                    head_loss_backward_workspace(arguments.backward));
  }
};

}  // namespace plumb

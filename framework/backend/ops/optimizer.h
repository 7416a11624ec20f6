// One optimiser step over many tensors, with the statistics of the update taken in the same pass.
#pragma once

#include <span>

#include "backend/ops/step_guard.h"
#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// Indices into the step-scalar buffer (float64 on every backend). What changes from step to step is read
/// from there when a kernel runs, so that nothing in a step waits for the host.
enum StepScalar : int {
  kStepLearningRate = 0,
  kStepBiasCorrection1,  ///< 1 - beta1^t
  kStepBiasCorrection2,  ///< 1 - beta2^t
  kStepGradientNorm,     ///< global norm before clipping; written by clip
  kStepClipFactor,       ///< min(1, max_norm / norm); written by clip, lowered by guard_step
  kStepSkipFactor,  ///< 1 = update, 0 = leave parameters and optimiser state as they are; written by clip and
                    ///< guard_step
  kStepLossScale,   ///< what the gradients are multiplied by (1 but for fp16); written by adapt_loss_scale
  kStepAppliedLossScale,   ///< the loss scale of this step's gradients; written by clip
  kStepsSinceScaleChange,  ///< updates since the loss scale changed; written by adapt_loss_scale
  kStepSpikes,             ///< kLossSpike + kNormSpike: why the step is skipped; written by guard_step
  kStepClippedTensors,     ///< tensors that are clipped by their own average; written by guard_step
  kStepHalted,  ///< 1 = a gradient norm was not finite: nothing is updated until the host writes a 0
  kStepScalars
};

/// One tensor of an update. All spans have the same number of elements.
struct UpdateTensor {
  Tensor parameter;     ///< master dtype
  Tensor gradient;      ///< master dtype
  Tensor momentum;      ///< master dtype: Adam m, SGD momentum
  Tensor variance;      ///< master dtype: Adam v; empty for SGD
  Tensor compute_copy;  ///< compute dtype, written with the new value; empty = none
  double learning_rate_scale = 1;
  double weight_decay = 0;  ///< decoupled: parameter -= lr * decay * parameter
  double epsilon_scale = 1;
};

/// Per-tensor float64 results, index = position in the list; overwritten; empty = not wanted. With g, v and
/// eps as in adamw after this step's update, and v^ = v / bc2:
struct UpdateStatistics {
  Tensor update_square;     ///< (n) sum (new - old)^2
  Tensor parameter_square;  ///< (n) sum old^2
  /// (n) sum g^2 / max(v^, eps^2). Its mean over the entries is the square of RMS_t, which is 1 while v keeps
  /// up with the gradients and far above 1 when it lags (arXiv 2304.13013, algorithm 2, whose second moment
  /// is free of its bias by another recursion). Only adamw; 0 for a skipped step; NaN where an entry of g
  /// is not finite or one of v is NaN.
  Tensor lag_squares{};
  Tensor eps_dominated{};  ///< (n) number of entries with sqrt(v^) < eps. Only adamw; 0 for a skipped step
};

struct AdamW {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  Tensor step_scalars;  ///< (kStepScalars) float64
  UpdateStatistics statistics;
  Workspace workspace;
  Tensor tensor_factors{};  ///< (n) float64 that gradients are multiplied by; empty = 1
};

struct SgdMomentum {
  double momentum = 0.9;
  Tensor step_scalars;
  UpdateStatistics statistics;
  Workspace workspace;
  Tensor tensor_factors{};  ///< as of AdamW
};

struct Clip {
  Tensor squares;       ///< (n) float64: sum of squares of every reduced gradient tensor
  double max_norm = 0;  ///< 0 = do not clip
  Tensor step_scalars;  ///< reads the loss scale; writes gradient norm, clip factor, skip factor and the
                        ///< applied loss scale
  bool halts = false;   ///< a norm that is not finite skips the following steps too (kStepHalted)
};

/// Dynamic loss scaling (arXiv 1710.03740): halves the scale after a step whose gradient norm was not finite,
/// doubles it after `interval` other ones in a row.
struct LossScaling {
  std::int64_t interval = 2000;
  double largest = 0x1p24;  ///< the scale grows no further
  Tensor step_scalars;
};

class OptimizerOps {
 public:
  virtual ~OptimizerOps() = default;
  /// arXiv 1711.05101 with g = clip * tensor factor * gradient / loss scale:  m = b1 m + (1-b1) g;  v = b2 v
  /// + (1-b2) g^2; parameter -= lr ( (m / bc1) / (sqrt(v / bc2) + eps) + decay * parameter ).  Nothing
  /// changes when skip = 0.
  virtual void adamw(Stream& stream, const AdamW& arguments, std::span<const UpdateTensor> tensors) const = 0;
  /// With the same g: momentum = mu momentum + g;  parameter -= lr ( momentum + decay * parameter ).
  /// Gradient and momentum of a tensor may be the same view.
  virtual void sgd_momentum(Stream& stream, const SgdMomentum& arguments,
                            std::span<const UpdateTensor> tensors) const = 0;
  /// Of adamw and sgd_momentum.
  virtual std::size_t update_workspace(std::span<const UpdateTensor> tensors) const = 0;
  /// Norm = sqrt(sum of squares in index order) / loss scale. A norm that is not finite sets the skip factor
  /// to 0 and the clip factor to 0; otherwise skip = 1 unless the step is halted. No spikes, no clipped
  /// tensors.
  virtual void clip(Stream& stream, const Clip& arguments) const = 0;
  /// After clip, before the update. A step that clip skips changes nothing in the state.
  virtual void guard_step(Stream& stream, const StepGuard& arguments) const = 0;
  /// After the update, by the clip factor that clip has written.
  virtual void adapt_loss_scale(Stream& stream, const LossScaling& arguments) const = 0;
};

}  // namespace plumb

// The rules of the step-scalar buffer that every backend follows. They are constexpr so that device code can
// call them too.
#pragma once

#include "backend/ops/optimizer.h"
#include "core/finite.h"

namespace plumb {

/// What OptimizerOps::clip writes for `norm`, the root of the sum of squares of the gradients as they are
/// (multiplied by the loss scale).
constexpr void decide_clip(double norm, double max_norm, bool halts, double* step_scalars) {
  const double unscaled = norm / step_scalars[kStepLossScale];
  step_scalars[kStepAppliedLossScale] = step_scalars[kStepLossScale];
  const bool finite = is_finite_value(unscaled);
  const bool clipped = max_norm > 0 && unscaled > max_norm;
  step_scalars[kStepGradientNorm] = unscaled;
  step_scalars[kStepClipFactor] = !finite ? 0.0 : clipped ? max_norm / unscaled : 1.0;
  if (!finite && halts) step_scalars[kStepHalted] = 1;
  step_scalars[kStepSkipFactor] = finite && step_scalars[kStepHalted] == 0 ? 1.0 : 0.0;
  step_scalars[kStepSpikes] = step_scalars[kStepClippedTensors] = 0;
}

/// OptimizerOps::adapt_loss_scale.
constexpr void decide_loss_scale(double interval, double largest, double* step_scalars) {
  double& scale = step_scalars[kStepLossScale];
  double& steps = step_scalars[kStepsSinceScaleChange];
  if (step_scalars[kStepClipFactor] == 0) {
    scale *= 0.5;
    steps = 0;
    return;
  }
  steps += 1;
  if (steps < interval) return;
  scale = scale * 2 < largest ? scale * 2 : largest;
  steps = 0;
}

}  // namespace plumb

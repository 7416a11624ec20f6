// The rules of OptimizerOps::guard_step that every backend follows. They are constexpr so that device code
// can call them too; the square root is the caller's, because it is not.
#pragma once

#include "backend/ops/optimizer.h"
#include "core/finite.h"

namespace plumb {

/// Two passes, because a running sum of squares would cancel. The deviation counts as at least 1e-9 of the
/// mean, so that rounding in a constant series is no spike.
constexpr bool is_series_spike(const double* series, double value, double sigmas) {
  if (!is_finite_value(value)) return true;
  const int count = static_cast<int>(series[kSeriesCount]);
  if (count < kGuardMinimum) return false;
  const double* window = series + kSeriesWindow;
  double mean = 0, squares = 0;
  for (int i = 0; i < count; ++i) mean += window[i];
  mean /= count;
  for (int i = 0; i < count; ++i) squares += (window[i] - mean) * (window[i] - mean);
  const double variance = squares / (count - 1), least = 1e-9 * mean;
  const double unit_square = variance > least * least ? variance : least * least;
  const double distance = value - mean;
  return distance > 0 && distance * distance >= sigmas * sigmas * unit_square;
}

constexpr void push_into_series(double* series, double value) {
  const int next = static_cast<int>(series[kSeriesNext]);
  series[kSeriesWindow + next] = value;
  series[kSeriesNext] = (next + 1) % kGuardWindow;
  if (series[kSeriesCount] < kGuardWindow) series[kSeriesCount] += 1;
}

/// Judges the value; only what is no spike enters the window. Returns whether it was one.
constexpr bool observe_in_series(double* series, double value, double sigmas) {
  if (!is_series_spike(series, value, sigmas)) {
    series[kSeriesStreak] = 0;
    push_into_series(series, value);
    return false;
  }
  if (!is_finite_value(value)) return true;
  const int streak = static_cast<int>(series[kSeriesStreak]);
  series[kSeriesSpikes + streak] = value;
  series[kSeriesStreak] = streak + 1;
  if (streak + 1 < kGuardMinimum) return true;
  series[kSeriesCount] = series[kSeriesNext] = series[kSeriesStreak] = 0;
  for (int i = 0; i < kGuardMinimum; ++i) push_into_series(series, series[kSeriesSpikes + i]);
  return true;
}

/// The limit of the global norm, or the norm itself where there is none. Advances the averages.
template <class SquareRoot>
constexpr double z_clipped_norm(const GuardRules& rules, double norm, double* state,
                                SquareRoot&& square_root) {
  double &steps = state[kGuardAverageSteps], &mean = state[kGuardMean], &variance = state[kGuardVariance];
  const auto warmup = static_cast<double>(rules.z_warmup);
  if (steps < warmup) {  // mean and variance of the values so far, by Welford's recurrence
    steps += 1;
    const double distance = norm - mean;
    mean += distance / steps;
    variance += (distance * (norm - mean) - variance) / steps;
    return norm;
  }
  const double deviation = square_root(variance), distance = norm - mean;
  double clipped = norm;
  // An average of 0 is none: gradients that begin behind a zero would otherwise be clipped to 0 for good.
  if (mean > 0 && distance > rules.z_limit * deviation) {
    clipped = mean + rules.z_limit * rules.z_limit * deviation * deviation / distance;
  }
  mean = rules.z_decay * mean + (1 - rules.z_decay) * clipped;
  variance = rules.z_decay * variance + (1 - rules.z_decay) * (clipped - mean) * (clipped - mean);
  return clipped;
}

/// All of guard_step but the tensors, after which guard_tensor goes over them if the step is not skipped.
template <class SquareRoot>
constexpr void decide_guard(const GuardRules& rules, const double* losses, std::int64_t ranks, double targets,
                            double* state, double* step_scalars, SquareRoot&& square_root) {
  // Not finite, or halted: neither is a step that anything may be learnt from.
  if (step_scalars[kStepSkipFactor] == 0) return;
  const double norm = step_scalars[kStepGradientNorm];
  int spikes = 0;
  if (rules.skip_sigmas > 0) {
    double loss = 0;
    for (std::int64_t rank = 0; rank < ranks; ++rank) loss += losses[rank];
    if (ranks > 0 && observe_in_series(state + kGuardLoss, loss / targets, rules.skip_sigmas))
      spikes += kLossSpike;
    if (observe_in_series(state + kGuardNorm, norm, rules.skip_sigmas)) spikes += kNormSpike;
  }
  step_scalars[kStepSpikes] = spikes;
  if (spikes != 0) {
    step_scalars[kStepSkipFactor] = 0;
    return;
  }
  if (rules.z_limit > 0) {
    const double clipped = z_clipped_norm(rules, norm, state, square_root);
    const double factor = norm > 0 ? clipped / norm : 1;
    if (factor < step_scalars[kStepClipFactor]) step_scalars[kStepClipFactor] = factor;
  }
}

/// Whether tensors are clipped by their own averages in this step: not while these begin.
constexpr bool clips_tensors(const GuardRules& rules, const double* state) {
  return state[kGuardTensorSteps] >= static_cast<double>(rules.tensor_warmup);
}

/// The factor of one tensor, whose average goes on; `norm` without the loss scale. `clip_factor`: the global
/// one.
constexpr double guard_tensor(const GuardRules& rules, bool clips, double norm, double clip_factor,
                              double& average) {
  if (!clips) {
    const double clipped = clip_factor * norm;
    if (clipped > 0 && (average == 0 || clipped < average)) average = clipped;
    return 1;
  }
  const double limit = rules.tensor_ratio * average;
  const bool is_clipped = average > 0 && norm > limit;
  const double clipped = is_clipped ? limit : norm;
  average = average == 0 ? clipped : rules.tensor_decay * average + (1 - rules.tensor_decay) * clipped;
  return is_clipped ? limit / norm : 1;
}

/// After the last tensor: the global factor gives way to theirs.
constexpr void finish_guard(bool clips, double clipped_tensors, double* state, double* step_scalars) {
  state[kGuardTensorSteps] += 1;
  step_scalars[kStepClippedTensors] = clipped_tensors;
  if (clips) step_scalars[kStepClipFactor] = 1;
}

}  // namespace plumb

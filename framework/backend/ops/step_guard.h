// What is done, before the update, about a step whose loss or gradients stand out from those before it.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace plumb {

/// Constants of the rules; 0 = that rule is off.
struct GuardRules {
  /// Skip a step whose loss or gradient norm is not finite or so many standard deviations (unbiased) above
  /// the mean of the last kGuardWindow values that were not: OLMo-core, SkipStepOptimizer. Nothing is judged
  /// before kGuardMinimum values; as many finite spikes in a row are a new level, which the window then
  /// starts from.
  double skip_sigmas = 0;
  /// Clip the global norm n to m + z s / ((n - m) / s / z) where n > m + z s, m and s^2 being exponential
  /// averages of the clipped norm and its variance: ZClip, arXiv 2504.02507. In the first steps, from which
  /// m and s^2 start, only Clip::max_norm acts.
  double z_limit = 0, z_decay = 0.97;
  std::int64_t z_warmup = 25;
  /// Clip the norm of every tensor to so many times the exponential average of its clipped norm, in the place
  /// of the global norm: AdaGC, arXiv 2502.11034. In the first steps the global norm is clipped, and the
  /// average is the smallest clipped norm. A tensor whose gradient has always been 0 is not clipped.
  double tensor_ratio = 0, tensor_decay = 0.98;
  std::int64_t tensor_warmup = 100;

  constexpr bool act() const { return skip_sigmas > 0 || z_limit > 0 || tensor_ratio > 0; }
};

inline constexpr int kGuardWindow = 128, kGuardMinimum = 64;

/// One series in the state: how many values its window has, where the next one goes, how many finite spikes
/// came in a row; then the window and these spikes.
enum GuardSeries : int {
  kSeriesCount = 0,
  kSeriesNext,
  kSeriesStreak,
  kSeriesWindow,
  kSeriesSpikes = kSeriesWindow + kGuardWindow,
  kGuardSeries = kSeriesSpikes + kGuardMinimum
};

/// The state (float64), zero at the start; behind it one average for every tensor, 0 while there is none.
enum GuardState : int {
  kGuardLoss = 0,
  kGuardNorm = kGuardLoss + kGuardSeries,
  kGuardAverageSteps = kGuardNorm + kGuardSeries,
  kGuardMean,
  kGuardVariance,
  kGuardTensorSteps,
  kGuardState
};

/// Bits of kStepSpikes.
inline constexpr int kLossSpike = 1, kNormSpike = 2;

struct StepGuard {
  GuardRules rules;
  Tensor squares;      ///< (P) float64: sum of squares of every reduced gradient tensor
  Tensor losses;       ///< (n) float64, whose sum over `targets` is the loss; empty: the norm alone is judged
  double targets = 1;  ///< of all ranks
  Tensor state;        ///< (kGuardState + P) float64
  Tensor tensor_factors;  ///< (P) float64, overwritten with factors <= 1; only and always with tensor_ratio
  Tensor step_scalars;    ///< reads norm and loss scale; lowers clip and skip factor; writes kStepSpikes and
                          ///< kStepClippedTensors
};

}  // namespace plumb

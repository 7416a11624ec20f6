// What changes with the residual step: the same model with every b set to one number.
#pragma once

#include <string>
#include <vector>

#include "theory/depth_prediction.h"

namespace plumb {

/// A step size and what it is called.
struct StepChoice {
  std::string name{};
  double step = 1;
};
/// 1, 0.5, 0.1, 1/sqrt(K), 1/K for K sublayers.
std::vector<StepChoice> step_choices(std::int64_t sublayers);

struct StepRow {
  StepChoice choice{};
  double time = 0;  ///< T = K b: how long the Euler method of arXiv 2510.09904 integrates
  /// Worst case of the stream's RMS where every branch ends in a norm and no norm is behind the sum: the
  /// aligned sum RMS_0 + sum b g (quadratic in depth, in the variance). NaN elsewhere.
  double worst_rms = 0;
  DepthPrediction prediction{};
};

/// A row for every choice; `start` as for predict_depth().
std::vector<StepRow> step_table(const ModelConfig& config, const PredictionStart& start);

}  // namespace plumb

// Depth scaling: what the depth (and width) of a model does to learning rate, eps and weight decay of each
// kind of parameter, to go with a depth schedule of the residual step.
#pragma once

#include <string_view>
#include <vector>

#include "config/config.h"
#include "nn/parameter.h"
#include "optim/optimizer.h"

namespace plumb {

/// m_L and m_N: depth and width relative to where nothing is scaled; alpha: minus the exponent of the
/// residual step's depth schedule.
struct ScalingRatios {
  double depth = 1, width = 1, alpha = 1;
};

struct DepthScaling {
  std::string_view name;
  std::string_view rule;
  std::string_view citation;
  std::string_view certainty;
  OptimizerFactors (*hidden_matrix)(const ScalingRatios& ratios);
  OptimizerFactors (*hidden_vector)(const ScalingRatios& ratios);  ///< gains, biases and knobs inside blocks
};

/// none, depth-mup, completep. Embeddings, head and outer norms are never scaled.
const std::vector<DepthScaling>& depth_scalings();

/// The ratios that a configuration means: m_L from model.residual.b, m_N from optimizer.scaling_base_width.
ScalingRatios scaling_ratios(const Config& config);

/// The factors of a parameter under optimizer.scaling.
OptimizerFactors optimizer_factors(const Config& config, ParameterRole role);

}  // namespace plumb

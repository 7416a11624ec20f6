#include "optim/depth_scaling.h"

#include <cmath>

#include "nn/rows.h"

namespace plumb {
namespace {

OptimizerFactors unscaled(const ScalingRatios&) { return {}; }

OptimizerFactors depth_mup_matrix(const ScalingRatios& ratios) {
  return {.learning_rate = std::pow(ratios.depth, -0.5)};
}

double completep_epsilon(const ScalingRatios& ratios) {
  return std::pow(ratios.depth, -ratios.alpha) / ratios.width;
}

OptimizerFactors completep_matrix(const ScalingRatios& ratios) {
  return {.learning_rate = std::pow(ratios.depth, ratios.alpha - 1) / ratios.width,
          .epsilon = completep_epsilon(ratios),
          .weight_decay = ratios.width};
}

OptimizerFactors completep_vector(const ScalingRatios& ratios) {
  return {.learning_rate = std::pow(ratios.depth, ratios.alpha - 1), .epsilon = completep_epsilon(ratios)};
}

}  // namespace

const std::vector<DepthScaling>& depth_scalings() {
  static const std::vector<DepthScaling> rows = {
      {"none", "nothing is scaled", "-", "definition", unscaled, unscaled},
      {"depth-mup", "learning rate of matrices in blocks times m_L^(-1/2)", "Depth-muP, arXiv 2310.02244",
       "read in a table of the CompleteP code; the paper's own was not read, nor whether vectors scale",
       depth_mup_matrix, unscaled},
      {"completep",
       "in blocks: learning rate of matrices times m_N^(-1) m_L^(alpha-1), of vectors m_L^(alpha-1); eps "
       "times "
       "m_N^(-1) m_L^(-alpha); weight decay of matrices times m_N",
       "CompleteP, arXiv 2505.01618",
       "read in the authors' table and code; the code scales eps for all parameters, the table, as here, "
       "inside blocks",
       completep_matrix, completep_vector},
  };
  return rows;
}

ScalingRatios scaling_ratios(const Config& config) {
  const ModelConfig& model = config.model;
  const KnobConfig& b = model.base.residual.b;
  const auto blocks = static_cast<double>(model.blocks);
  const double units = b.counts == "blocks" ? blocks : blocks * static_cast<double>(model.block.size());
  const double base_width = config.optimizer.scaling_base_width;
  return {.depth = units / b.depth_base,
          .width = base_width > 0 ? static_cast<double>(model.width) / base_width : 1,
          .alpha = -b.depth_exponent};
}

OptimizerFactors optimizer_factors(const Config& config, ParameterRole role) {
  const DepthScaling& row = row_named(depth_scalings(), config.optimizer.scaling, "optimizer scaling");
  if (role == ParameterRole::HiddenMatrix) return row.hidden_matrix(scaling_ratios(config));
  if (role == ParameterRole::HiddenVector) return row.hidden_vector(scaling_ratios(config));
  return {};
}

}  // namespace plumb

// A model as its configuration resolves, sublayer by sublayer: what the theory reads. Nothing here knows the
// name of a placement.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/ops/norm.h"
#include "config/model_config.h"
#include "nn/residual_schedule.h"

namespace plumb {

struct ResolvedSublayer {
  std::string name{}, kind{};  ///< "blocks.3.ffn"; attention | ffn | linear
  DepthPosition position{};
  SublayerConfig config{};
  std::int64_t block_start = 0;  ///< first sublayer of the block, whose input is x_block

  bool reads_block_input() const { return config.branch_input == "block"; }
};

struct ResolvedModel {
  ModelConfig config{};
  std::vector<ResolvedSublayer> sublayers{};

  std::int64_t width() const { return config.width; }
  /// Why formulas about one stream x say nothing here; empty where they apply.
  std::string other_streams() const;
};

/// InputError for an override that does not apply.
ResolvedModel resolve_model(const ModelConfig& config);

/// The kind in a slot, with "standard" resolved.
NormKind norm_kind_of(const NormConfig& norm, const ModelConfig& model);

/// The configuration with the residual step of every sublayer set to the constant `step`: not trained, not
/// scheduled, not random.
ModelConfig with_constant_step(const ModelConfig& config, double step);

/// The configuration with every schedule over time at its end, where coefficients are largest.
ModelConfig with_finished_ramps(const ModelConfig& config);

}  // namespace plumb

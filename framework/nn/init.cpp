#include "nn/init.h"

#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

bool scales_projections(const InitConfig& config, bool branch_ends_in_norm) {
  if (config.projection_scale == "1/sqrt(2L)") return true;
  if (config.projection_scale == "none") return false;
  return config.kind == "gpt2" && !branch_ends_in_norm;
}

}  // namespace

InitRule matrix_init(const InitConfig& config, MatrixRole role, std::int64_t in, std::int64_t out,
                     std::int64_t sublayers, bool branch_ends_in_norm) {
  if (role == MatrixRole::TokenEmbedding) return InitRule::normal(config.embedding_standard_deviation);
  if (role == MatrixRole::PositionEmbedding) return InitRule::normal(config.position_standard_deviation);
  const double scale = role == MatrixRole::Projection && scales_projections(config, branch_ends_in_norm)
                           ? 1 / std::sqrt(static_cast<double>(sublayers))
                           : 1;
  if (config.kind == "xavier")
    return InitRule::uniform(scale * std::sqrt(6.0 / static_cast<double>(in + out)));
  PLUMB_CHECK(config.kind == "gpt2" || config.kind == "normal", "unknown init kind '{}'", config.kind);
  return InitRule::normal(scale * config.standard_deviation);
}

}  // namespace plumb

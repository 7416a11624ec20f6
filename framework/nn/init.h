// Initialisation: which rule each matrix starts from. A table of rules by role, not code per placement.
#pragma once

#include "config/model_config.h"
#include "nn/parameter.h"

namespace plumb {

/// What a matrix does. Projections write to the stream (W_O, W_2, the matrix of a linear sublayer).
enum class MatrixRole { TokenEmbedding, PositionEmbedding, Inner, Projection, Head };

/// kind gpt2: N(0, std^2), projections N(0, std^2 / (2 L)) with L blocks (GPT-2; K sublayers: std^2/K) unless
/// the branch ends in a norm (the scale would only push the branch towards the norm's eps, docs/design) or
/// projection_scale says otherwise; normal: N(0, std^2) everywhere; xavier: U(-g, g), g = sqrt(6 / (in +
/// out)). Embeddings always take their own standard deviations.
InitRule matrix_init(const InitConfig& config, MatrixRole role, std::int64_t in, std::int64_t out,
                     std::int64_t sublayers, bool branch_ends_in_norm);

}  // namespace plumb

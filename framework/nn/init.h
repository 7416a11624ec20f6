// Initialisation: which rule each matrix starts from. Tables of rules by role, not code per placement.
#pragma once

#include <string_view>
#include <vector>

#include "config/model_config.h"
#include "nn/parameter.h"
#include "nn/residual_schedule.h"

namespace plumb {

/// What a matrix does. Q and K share a rule. AttentionOutput, FfnOutput and Linear write to the stream.
enum class MatrixRole {
  QueryKey,
  Value,
  AttentionOutput,
  FfnInput,
  FfnOutput,
  Linear,
  TokenEmbedding,
  PositionEmbedding,
  Head
};
std::string_view name_of(MatrixRole role);

/// A matrix and where it stands. Each of W_Q, W_K, W_V is a matrix of its own here (width -> H*D), and so is
/// each half of a gated W_1.
struct MatrixSite {
  MatrixRole role = MatrixRole::QueryKey;
  std::int64_t in = 1, out = 1;
  std::int64_t width = 1;
  DepthPosition position{};  ///< of the sublayer; only L and K matter for embeddings and head
  bool branch_ends_in_norm =
      false;  ///< N_out is there: 1/sqrt(2L) would only push the branch towards its eps
};

struct InitKind {
  std::string_view name;
  std::string_view rule;  ///< standard deviations by role; W without a role means all matrices of sublayers
  std::string_view citation;
  std::string_view certainty;
  InitRule (*matrix)(const InitConfig& config, const MatrixSite& site, const ModelConfig& model);
};

struct EmbeddingInit {
  std::string_view name;
  std::string_view rule;
  std::string_view citation;
  std::string_view certainty;
  InitRule (*table)(const InitConfig& config, const MatrixSite& site, const ModelConfig& model);
};

const std::vector<InitKind>& init_kinds();
const std::vector<EmbeddingInit>& embedding_inits();

/// The rule of a matrix under model.init: its kind (or model.init.embedding), times 1/sqrt(K) on projections
/// where projection_scale says so, times the factor over depth.
InitRule matrix_init(const ModelConfig& model, const MatrixSite& site);

/// DeepNorm's constants (arXiv 2203.00555, table 2; torchscale). N encoder blocks, M decoder blocks.
struct DeepNormConstants {
  double alpha, beta;
};
DeepNormConstants deepnorm_single_stack(double blocks);
DeepNormConstants deepnorm_encoder(double encoder_blocks, double decoder_blocks);
DeepNormConstants deepnorm_decoder(double decoder_blocks);

/// The tensor of block 0 that plays the same part: "blocks.3.ffn.expand.weight" -> "blocks.0.ffn...".
std::string twin_in_first_block(const std::string& name);

}  // namespace plumb

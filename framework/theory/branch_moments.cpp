#include "theory/branch_moments.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "nn/feed_forward.h"
#include "nn/init.h"
#include "nn/knob.h"

namespace plumb {
namespace {

double number(std::int64_t x) { return static_cast<double>(x); }

/// Variance of the entries of a matrix of this sublayer as drawn.
double weight_variance(const ResolvedSublayer& sublayer, const ModelConfig& model, MatrixRole role,
                       std::int64_t in, std::int64_t out) {
  if (model.sphere_weights) return 1 / number(model.width);  // unit vectors along the width
  const bool ends_in_norm = norm_kind_of(sublayer.config.norm.out, model) != NormKind::None;
  const InitRule rule = matrix_init(model, {.role = role,
                                            .in = in,
                                            .out = out,
                                            .width = model.width,
                                            .position = sublayer.position,
                                            .branch_ends_in_norm = ends_in_norm});
  return std::pow(rule.standard_deviation(), 2);
}

double gain_square(const KnobConfig& knob, const ResolvedSublayer& sublayer, const ModelConfig& model) {
  return std::pow(knob_start(knob, sublayer.position, model.width), 2);
}

NormMoments slot_moments(const NormConfig& norm, const ModelConfig& model, std::int64_t width,
                         double square) {
  return norm_moments(norm, norm_kind_of(norm, model), width, square);
}

/// Of a branch that treats every token alone: two equal gradients leave it correlated by `kept`.
GradientMoments token_by_token(double gain, double kept) {
  return {.own_independent = gain, .own_alike = gain, .pairs_independent = 0, .pairs_alike = gain * kept};
}

BranchMoments linear_moments(const ResolvedSublayer& sublayer, const ModelConfig& model,
                             const TokenMoments& entering) {
  const double gain =
      number(model.width) * weight_variance(sublayer, model, MatrixRole::Linear, model.width, model.width);
  return {.out = {gain * entering.square, entering.similarity}, .backward = token_by_token(gain, 1)};
}

BranchMoments feed_forward_moments(const ResolvedSublayer& sublayer, const ModelConfig& model,
                                   const TokenMoments& entering) {
  const ActivationKind kind = activation_from_name(sublayer.config.activation);
  const std::int64_t hidden = ffn_hidden_width(model, kind);
  const double expand =
      number(model.width) * weight_variance(sublayer, model, MatrixRole::FfnInput, model.width, hidden);
  const double contract =
      number(hidden) * weight_variance(sublayer, model, MatrixRole::FfnOutput, hidden, model.width);
  const double gain = gain_square(sublayer.config.gain.ffn, sublayer, model);
  const ActivationMoments moments =
      activation_moments(constants_of(kind), is_gated(kind), gain * expand * entering.square);
  const NormMoments inner = slot_moments(sublayer.config.norm.ffn_inner, model, hidden, moments.square);
  return {.out = {contract * inner.square, moments.correlation(moments, entering.similarity)},
          .backward = token_by_token(contract * inner.backward * moments.slope_square * gain * expand,
                                     moments.slope_correlation(entering.similarity)),
          .matrices = 2,
          .hidden = moments};
}

/// Sums over how softmax spreads: with `spread` = exp(variance of logits), row i of n gives sum_j p_ij^2 =
/// min(1, spread / i).
struct Averaging {
  double same = 0;   ///< mean over rows of sum_j p_ij^2
  double pairs = 0;  ///< mean over pairs of rows of sum_j p_ij p_kj
  // The same of the transpose: mean over keys j of (sum_i p_ij)^2; mean over pairs of keys of
  // sum_i p_ij sum_i p_ik and of sum_i p_ij p_ik.
  double key_alike = 1, key_pairs_alike = 1, key_pairs = 0;
};

Averaging averaging(const ModelConfig& model, double spread) {
  const std::int64_t n = model.sequence_length;
  const auto concentration = [&](std::int64_t seen) { return std::min(1.0, spread / number(seen)); };
  if (!model.causal || n == 1) {
    return {.same = concentration(n), .pairs = 1 / number(n), .key_pairs = n > 1 ? 1 / number(n) : 0};
  }
  Averaging result{.key_alike = 0};
  const double pairs_of_rows = number(n) * number(n - 1) / 2;
  double weight = 0, square_weight = 0, weights = 0;  // over i >= j: of 1/i and 1/i^2; of the first over j
  for (std::int64_t j = n; j >= 1; --j) {
    weight += 1 / number(j);
    square_weight += 1 / (number(j) * number(j));
    weights += weight;
    result.same += concentration(j) / number(n);
    result.pairs += number(j - 1) / number(j) / pairs_of_rows;  // the longer of two rows sees j tokens
    result.key_alike += weight * weight / number(n);
    result.key_pairs += number(j - 1) * square_weight / pairs_of_rows;
  }
  result.key_pairs_alike = (weights * weights / number(n) - result.key_alike) / number(n - 1);
  return result;
}

/// Queries and keys after norms and gain, and what their gradients pass on the way to u.
struct QueryMoments {
  double square = 0;    ///< per entry
  double scale = 0;     ///< of the logits
  double backward = 0;  ///< mean-square gain from dq to du
};

QueryMoments query_moments(const ResolvedSublayer& sublayer, const ModelConfig& model,
                           const TokenMoments& entering) {
  const std::int64_t d = model.resolved_head_width(), all = model.heads * d;
  const double matrix =
      number(model.width) * weight_variance(sublayer, model, MatrixRole::QueryKey, model.width, all);
  const bool per_head = sublayer.config.qk_norm_extent == "head";
  const NormMoments normed =
      slot_moments(sublayer.config.norm.qk, model, per_head ? d : all, matrix * entering.square);
  const double gain = gain_square(sublayer.config.gain.qk, sublayer, model);
  const double by_width = std::pow(number(d), model.attention_scale_by == "sqrt(head_width)" ? 0.5 : -0.5);
  return {.square = normed.square * gain,
          .scale = model.attention_scale > 0 ? model.attention_scale : by_width,
          .backward = gain * normed.backward * matrix};
}

BranchMoments attention_moments(const ResolvedSublayer& sublayer, const ModelConfig& model,
                                const TokenMoments& entering, double first_value_square, bool training) {
  const std::int64_t d = model.resolved_head_width(), all = model.heads * d;
  const double value_matrix =
      number(model.width) * weight_variance(sublayer, model, MatrixRole::Value, model.width, all);
  const double output_matrix =
      number(all) * weight_variance(sublayer, model, MatrixRole::AttentionOutput, all, model.width);
  const bool per_head = sublayer.config.v_norm_extent == "head";
  const NormMoments values =
      slot_moments(sublayer.config.norm.v, model, per_head ? d : all, value_matrix * entering.square);
  const double value_gain = gain_square(sublayer.config.gain.value, sublayer, model);
  const double first =
      sublayer.position.sublayer > 0
          ? gain_square(sublayer.config.gain.first_value, sublayer, model) * first_value_square
          : 0;
  const double value = value_gain * values.square + first;
  const double t = entering.similarity, dropout = training ? model.dropout_attention : 0;
  const QueryMoments query = query_moments(sublayer, model, entering);
  const double logit_variance = number(d) * std::pow(query.square * query.scale, 2) * (1 - t);
  const Averaging mean = averaging(model, std::exp(logit_variance));
  const double dropped = dropout / (1 - dropout) * mean.same;
  const double mixed = value * (t + (1 - t) * mean.same + dropped);
  const double pairs = value * (t + (1 - t) * mean.pairs);
  const NormMoments before = slot_moments(sublayer.config.norm.pre_projection, model, all, mixed);
  const double leaving = output_matrix * before.backward;
  const double by_values = leaving * value_gain * values.backward * value_matrix;
  // ds_ij = p_ij do_i (v_j - o_i), dq_i = scale sum_j ds_ij k_j, and the same for keys.
  const double by_logits = leaving * 2 * mean.same * (1 - mean.same) * number(d) * query.scale * query.scale *
                           query.square * value * (1 - t) * query.backward;
  return {.out = {output_matrix * before.square, mixed > 0 ? std::min(1.0, pairs / mixed) : 0},
          .backward = {.own_independent = by_values * (mean.same + dropped) + by_logits,
                       .own_alike = by_values * (mean.key_alike + dropped) + by_logits,
                       .pairs_independent = by_values * mean.key_pairs,
                       .pairs_alike = by_values * mean.key_pairs_alike},
          .matrices = 2};
}

}  // namespace

double value_square(const ResolvedSublayer& sublayer, const ModelConfig& model,
                    const TokenMoments& entering) {
  const std::int64_t d = model.resolved_head_width(), all = model.heads * d;
  const double own = number(model.width) *
                     weight_variance(sublayer, model, MatrixRole::Value, model.width, all) * entering.square;
  const bool per_head = sublayer.config.v_norm_extent == "head";
  return gain_square(sublayer.config.gain.value, sublayer, model) *
         slot_moments(sublayer.config.norm.v, model, per_head ? d : all, own).square;
}

BranchMoments branch_moments(const ResolvedSublayer& sublayer, const ModelConfig& model,
                             const TokenMoments& entering, double first_value_square, bool training) {
  if (sublayer.kind == "linear") return linear_moments(sublayer, model, entering);
  if (sublayer.kind == "ffn") return feed_forward_moments(sublayer, model, entering);
  if (sublayer.kind == "attention") {
    return attention_moments(sublayer, model, entering, first_value_square, training);
  }
  fail("no moments for sublayers of kind {}", sublayer.kind);
}

double embedding_variance(const ModelConfig& model, bool training) {
  const DepthPosition depth{.sublayers = model.blocks * static_cast<std::int64_t>(model.block.size()),
                            .blocks = model.blocks};
  const auto variance = [&](MatrixRole role) {
    if (model.sphere_weights && role == MatrixRole::TokenEmbedding) return 1 / number(model.width);
    const InitRule rule = matrix_init(
        model, {.role = role, .in = model.width, .out = 1, .width = model.width, .position = depth});
    return std::pow(rule.standard_deviation(), 2);
  };
  double scale = model.embedding_scale;
  if (model.embedding_scale_by == "sqrt(width)") scale *= std::sqrt(number(model.width));
  double square = scale * scale * variance(MatrixRole::TokenEmbedding);
  if (model.position == "learned") square += variance(MatrixRole::PositionEmbedding);
  square = slot_moments(model.embedding_norm, model, model.width, square).square;
  return training ? square / (1 - model.dropout_embedding) : square;
}

}  // namespace plumb

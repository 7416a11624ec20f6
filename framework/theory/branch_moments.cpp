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

BranchMoments linear_moments(const ResolvedSublayer& sublayer, const ModelConfig& model,
                             const TokenMoments& entering) {
  const double gain =
      number(model.width) * weight_variance(sublayer, model, MatrixRole::Linear, model.width, model.width);
  return {.out = {gain * entering.square, entering.similarity}, .backward = gain};
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
          .backward = contract * inner.backward * moments.slope_square * gain * expand,
          .matrices = 2,
          .hidden = moments};
}

/// Sums over how softmax spreads: with `spread` = exp(variance of logits), row i of n gives sum_j p_ij^2 =
/// min(1, spread / i).
struct Averaging {
  double same = 0;   ///< mean over rows of sum_j p_ij^2
  double pairs = 0;  ///< mean over pairs of rows of sum_j p_ij p_kj
};

Averaging averaging(const ModelConfig& model, double spread) {
  const std::int64_t n = model.sequence_length;
  const auto concentration = [&](std::int64_t seen) { return std::min(1.0, spread / number(seen)); };
  if (!model.causal) return {concentration(n), 1 / number(n)};
  Averaging result;
  double pairs = 0;
  for (std::int64_t i = 1; i <= n; ++i) {
    result.same += concentration(i) / number(n);
    pairs += number(i - 1) / number(i);  // the longer of the two rows sees i tokens
  }
  result.pairs = n > 1 ? 2 * pairs / (number(n) * number(n - 1)) : 0;
  return result;
}

/// Variance of the logits between the keys that one query meets.
double logit_variance(const ResolvedSublayer& sublayer, const ModelConfig& model,
                      const TokenMoments& entering) {
  const std::int64_t d = model.resolved_head_width(), all = model.heads * d;
  const double own = number(model.width) *
                     weight_variance(sublayer, model, MatrixRole::QueryKey, model.width, all) *
                     entering.square;
  const bool per_head = sublayer.config.qk_norm_extent == "head";
  const double normed = slot_moments(sublayer.config.norm.qk, model, per_head ? d : all, own).square;
  const double scale = model.attention_scale > 0                        ? model.attention_scale
                       : model.attention_scale_by == "sqrt(head_width)" ? std::sqrt(number(d))
                                                                        : 1 / std::sqrt(number(d));
  const double gain = gain_square(sublayer.config.gain.qk, sublayer, model);
  return number(d) * std::pow(normed * gain * scale, 2) * (1 - entering.similarity);
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
  const Averaging mean = averaging(model, std::exp(logit_variance(sublayer, model, entering)));
  const double dropped = dropout / (1 - dropout) * mean.same;
  const double mixed = value * (t + (1 - t) * mean.same + dropped);
  const double pairs = value * (t + (1 - t) * mean.pairs);
  const NormMoments before = slot_moments(sublayer.config.norm.pre_projection, model, all, mixed);
  return {.out = {output_matrix * before.square, mixed > 0 ? std::min(1.0, pairs / mixed) : 0},
          .backward = output_matrix * before.backward * (mean.same + dropped) * value_gain * values.backward *
                      value_matrix,
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

#include "theory/branch_bound.h"

#include <cmath>

#include "nn/feed_forward.h"
#include "theory/activation_constants.h"
#include "theory/norm_size.h"
#include "theory/operator_norm.h"

namespace plumb {
namespace {

double root(std::int64_t entries) { return std::sqrt(static_cast<double>(entries)); }

MatrixView view(const HostParameter& weight) { return {weight.values, weight.rows(), weight.columns()}; }

/// Tensors of one sublayer, and what is left out of it when a tensor is not there.
class Tensors {
 public:
  Tensors(const ResolvedSublayer& sublayer, const ModelConfig& model, const HostParameters& parameters,
          const CoefficientTime& time)
      : sublayer_(sublayer), model_(model), parameters_(parameters), time_(time) {}

  const HostParameter& weight(const char* suffix) const { return parameters_.at(name(suffix)); }
  std::vector<double> vector(const char* suffix) const {
    const HostParameter* found = parameters_.find(name(suffix));
    return found == nullptr ? std::vector<double>() : found->values;
  }
  double vector_norm(const char* suffix) const { return norm_of(vector(suffix)); }
  /// Of one number added to `entries` entries (Fixup).
  double scalar_bias(const char* suffix, std::int64_t entries) const {
    return vector_norm(suffix) * root(entries);
  }
  std::optional<double> norm(const NormConfig& config, const char* suffix, std::int64_t width,
                             std::int64_t groups = 1) const {
    return norm_size(config, norm_kind_of(config, model_), {name(suffix), width, groups}, parameters_);
  }
  double gain(const KnobConfig& knob, const char* suffix) const {
    return knob_size(knob, name(suffix), sublayer_.position, model_.width, parameters_, time_);
  }
  std::vector<double> gains(const KnobConfig& knob, const char* suffix) const {
    return knob_values(knob, name(suffix), sublayer_.position, model_.width, parameters_, time_);
  }

 private:
  std::string name(const char* suffix) const { return sublayer_.name + suffix; }

  const ResolvedSublayer& sublayer_;
  const ModelConfig& model_;
  const HostParameters& parameters_;
  CoefficientTime time_;
};

BranchBound linear_bound(const Tensors& tensors, const ModelConfig& model) {
  const double norm = operator_norm_bound(view(tensors.weight(".matrix.weight")));
  return {
      .proved = true,
      .constant = norm * tensors.scalar_bias(".bias_in", model.width) + tensors.vector_norm(".matrix.bias"),
      .linear = norm};
}

/// factor * (what a polynomial gives) + constant.
BranchBound scaled(BranchBound bound, double factor, double constant) {
  bound.constant = factor * bound.constant + constant;
  bound.linear *= factor;
  bound.quadratic *= factor;
  return bound;
}

/// |act(s o (W_1 u + b_1))| as a polynomial in |u|.
BranchBound hidden_bound(const ResolvedSublayer& sublayer, const Tensors& tensors, const ModelConfig& model) {
  const ActivationKind kind = activation_from_name(sublayer.config.activation);
  const HostParameter& expand = tensors.weight(".expand.weight");
  const std::vector<double> bias = tensors.vector(".expand.bias");
  const double gain = tensors.gain(sublayer.config.gain.ffn, ".gain_ffn");
  const double entering = tensors.scalar_bias(".bias_in", model.width);
  /// |rows of W_1 u + b_1|, times the gain, plus the scalar bias on the hidden layer.
  const auto part = [&](std::int64_t first, std::int64_t count) {
    const double norm = operator_norm_bound({expand.row_range(first, count), count, expand.columns()});
    const auto own_bias = bias.empty() ? std::span<const double>()
                                       : std::span(bias).subspan(static_cast<std::size_t>(first),
                                                                 static_cast<std::size_t>(count));
    return BranchBound{
        .proved = true,
        .constant = gain * (norm * entering + norm_of(own_bias)) + tensors.scalar_bias(".bias_hidden", count),
        .linear = gain * norm};
  };
  const auto product = [](const BranchBound& x, const BranchBound& y) {
    return BranchBound{.proved = true,
                       .constant = x.constant * y.constant,
                       .linear = x.constant * y.linear + x.linear * y.constant,
                       .quadratic = x.linear * y.linear};
  };
  switch (constants_of(kind).growth) {
    case ActivationGrowth::Linear:
      return part(0, expand.rows());
    case ActivationGrowth::Square: {
      const BranchBound whole = part(0, expand.rows());
      return product(whole, whole);
    }
    case ActivationGrowth::Product: {
      const std::int64_t half = expand.rows() / 2;
      return product(part(0, half), part(half, half));
    }
  }
  fail("an activation without growth");
}

BranchBound feed_forward_bound(const ResolvedSublayer& sublayer, const Tensors& tensors,
                               const ModelConfig& model) {
  const HostParameter& contract = tensors.weight(".contract.weight");
  const double norm = operator_norm_bound(view(contract));
  const double leaving =
      norm * tensors.scalar_bias(".bias_out", contract.columns()) + tensors.vector_norm(".contract.bias");
  const auto inner = tensors.norm(sublayer.config.norm.ffn_inner, ".norm_ffn_inner", contract.columns());
  if (inner) return {.proved = true, .constant = norm * *inner + leaving};
  return scaled(hidden_bound(sublayer, tensors, model), norm, leaving);
}

/// The columns of W_O that head h reads, each times the gain of its value, (C, D) in rows.
std::vector<double> head_columns(const HostParameter& projection, std::int64_t head, std::int64_t width,
                                 const std::vector<double>& value_gain) {
  std::vector<double> columns;
  for (std::int64_t row = 0; row < projection.rows(); ++row) {
    for (std::int64_t i = 0; i < width; ++i) {
      const auto column = static_cast<std::size_t>(head * width + i);
      columns.push_back(projection.values[static_cast<std::size_t>(row * projection.columns()) + column] *
                        (value_gain.size() == 1 ? value_gain[0] : value_gain[column]));
    }
  }
  return columns;
}

std::vector<double> product_with(const std::vector<double>& matrix, std::span<const double> vector) {
  std::vector<double> out(matrix.size() / vector.size());
  for (std::size_t row = 0; row < out.size(); ++row) {
    for (std::size_t i = 0; i < vector.size(); ++i) out[row] += matrix[row * vector.size() + i] * vector[i];
  }
  return out;
}

/// Sums over heads, each times the size of its head gain; gain.value is in W_O.
struct Heads {
  double product_norms = 0;         ///< ||W_O^h W_V^h||
  double bias_norms = 0;            ///< |W_O^h b_V^h|
  double projection_norms = 0;      ///< ||W_O^h||
  std::vector<double> summed_bias;  ///< of W_O^h b_V^h itself
};

Heads heads_of(const ResolvedSublayer& sublayer, const Tensors& tensors, const ModelConfig& model,
               bool with_products) {
  const HostParameter& qkv = tensors.weight(".qkv.weight");
  const HostParameter& projection = tensors.weight(".projection.weight");
  const std::vector<double> bias = tensors.vector(".qkv.bias"), head_gain = tensors.vector(".head_gain");
  const std::int64_t d = model.resolved_head_width(), all = model.heads * d;
  const std::vector<double> value_gain = tensors.gains(sublayer.config.gain.value, ".gain_value");
  Heads heads;
  heads.summed_bias.assign(static_cast<std::size_t>(model.width), 0.0);
  for (std::int64_t h = 0; h < model.heads; ++h) {
    const double signed_gain = head_gain.empty() ? 1 : head_gain[static_cast<std::size_t>(h)];
    const double gain = std::abs(signed_gain);
    const std::vector<double> columns = head_columns(projection, h, d, value_gain);
    const MatrixView out{columns, model.width, d};
    if (!with_products) {
      heads.projection_norms += gain * operator_norm_bound(out);
      continue;
    }
    const MatrixView in{qkv.row_range(2 * all + h * d, d), d, model.width};
    heads.product_norms += gain * product_norm_bound(out, in);
    if (bias.empty()) continue;
    const auto own =
        std::span(bias).subspan(static_cast<std::size_t>(2 * all + h * d), static_cast<std::size_t>(d));
    const std::vector<double> moved = product_with(columns, own);
    heads.bias_norms += gain * norm_of(moved);
    for (std::size_t i = 0; i < moved.size(); ++i) heads.summed_bias[i] += signed_gain * moved[i];
  }
  return heads;
}

BranchBound attention_bound(const ResolvedSublayer& sublayer, const Tensors& tensors,
                            const ModelConfig& model, const CoefficientTime& time) {
  const std::int64_t all = model.heads * model.resolved_head_width();
  const double keep = time.training ? 1 - model.dropout_attention : 1;
  const std::vector<double> bias = tensors.vector(".projection.bias");
  const auto& norms = sublayer.config.norm;
  if (const auto pre = tensors.norm(norms.pre_projection, ".norm_pre_projection", all)) {
    const double norm = operator_norm_bound(view(tensors.weight(".projection.weight")));
    return {.proved = true, .constant = norm * *pre + norm_of(bias)};
  }
  const KnobConfig& first = sublayer.config.gain.first_value;
  if (sublayer.position.sublayer > 0 && (first.value != 0 || first.trainable != "none")) {
    return {.reason = "the values of the first attention are mixed in (gain.first_value)"};
  }
  const bool per_head = sublayer.config.v_norm_extent == "head";
  if (const auto values = tensors.norm(norms.v, ".norm_v", per_head ? model.resolved_head_width() : all)) {
    const Heads heads = heads_of(sublayer, tensors, model, false);
    return {.proved = true, .constant = *values * heads.projection_norms / keep + norm_of(bias)};
  }
  const Heads heads = heads_of(sublayer, tensors, model, true);
  const double entering = heads.product_norms * tensors.scalar_bias(".bias_in", model.width);
  double constant = heads.bias_norms / keep + norm_of(bias);
  if (keep == 1) {
    std::vector<double> sum = heads.summed_bias;
    for (std::size_t i = 0; i < bias.size(); ++i) sum[i] += bias[i];
    constant = norm_of(sum);
  }
  return {.proved = true, .constant = constant + entering / keep, .linear = heads.product_norms / keep};
}

}  // namespace

BranchBound branch_bound(const ResolvedSublayer& sublayer, const ModelConfig& model,
                         const HostParameters& parameters, const CoefficientTime& time) {
  const Tensors tensors(sublayer, model, parameters, time);
  if (sublayer.kind == "linear") return linear_bound(tensors, model);
  if (sublayer.kind == "ffn") return feed_forward_bound(sublayer, tensors, model);
  if (sublayer.kind == "attention") return attention_bound(sublayer, tensors, model, time);
  return {.reason = "no bound for sublayers of kind " + sublayer.kind};
}

}  // namespace plumb

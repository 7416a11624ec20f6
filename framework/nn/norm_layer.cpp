#include "nn/norm_layer.h"

#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

/// Variance + eps below this many eps is a variance below 10 eps.
constexpr double kSmallInEpsilons = 11;

bool is_bounded_function(NormKind kind) { return kind == NormKind::DyT || kind == NormKind::Derf; }

bool has_bias(NormKind kind) {
  return kind == NormKind::LayerNorm || kind == NormKind::DyT || kind == NormKind::Derf;
}

Tensor value_of(const Parameter* parameter) { return parameter != nullptr ? parameter->value : Tensor(); }

Tensor gradient_of(const Parameter* parameter) {
  return parameter != nullptr && parameter->trainable ? parameter->gradient : Tensor();
}

}  // namespace

NormKind norm_kind_from_name(const std::string& name, const std::string& standard_kind) {
  const std::string& kind = name == "standard" ? standard_kind : name;
  if (kind == "none") return NormKind::None;
  if (kind == "layernorm") return NormKind::LayerNorm;
  if (kind == "rmsnorm") return NormKind::RmsNorm;
  if (kind == "dyt") return NormKind::DyT;
  if (kind == "derf") return NormKind::Derf;
  if (kind == "l2") return NormKind::L2;
  fail_input("norm kind '{}' is unknown; known: none, standard, layernorm, rmsnorm, dyt, derf, l2", kind);
}

NormLayer::NormLayer(const NormConfig& config, const std::string& standard_kind, const std::string& name,
                     NormExtent extent, const ModelShape& shape, ParameterStore& store)
    : kind_(norm_kind_from_name(config.kind, standard_kind)),
      epsilon_(config.epsilon),
      name_(name),
      extent_(extent),
      shape_(shape) {
  if (!present()) return;
  const std::int64_t entries = extent.shared_parameters ? extent.width / extent.groups : extent.width;
  const auto declare = [&](const char* suffix, std::int64_t count, double start) {
    return store.declare({.name = name + suffix,
                          .shape = {count},
                          .init = InitRule::constant(start),
                          .role = extent.role,
                          .trainable = config.trainable,
                          .weight_decay = config.decay});
  };
  if (config.gain) gain_ = declare(".gain", entries, config.gain_init);
  if (config.bias && has_bias(kind_)) bias_ = declare(".bias", entries, 0);
  if (kind_ == NormKind::DyT || kind_ == NormKind::Derf) alpha_ = declare(".alpha", 1, config.alpha_init);
  if (kind_ == NormKind::Derf) offset_ = declare(".offset", 1, 0);
  const bool bounded = is_bounded_function(kind_);
  index_ = store.declare_norm({.name = name,
                               .gain = gain_,
                               .bias = bias_,
                               .vectors = bounded ? 0 : extent.groups * extent.vectors_per_row,
                               .bounded_entries = bounded ? extent.width * extent.vectors_per_row : 0});
}

NormForward NormLayer::forward_arguments(const Tensor& x, const Tensor& y) const {
  NormForward arguments;
  arguments.kind = kind_;
  arguments.epsilon = epsilon_;
  arguments.groups = extent_.groups;
  arguments.rows_per_sequence = shape_.tokens * extent_.vectors_per_row;
  arguments.x = x;
  arguments.y = y;
  arguments.gain = value_of(gain_);
  arguments.bias = value_of(bias_);
  arguments.alpha = value_of(alpha_);
  arguments.offset = value_of(offset_);
  return arguments;
}

NormBackward NormLayer::backward_arguments(const Tensor& x, const Tensor& dy, const Tensor& dx) const {
  NormBackward arguments;
  arguments.kind = kind_;
  arguments.epsilon = epsilon_;
  arguments.groups = extent_.groups;
  arguments.rows_per_sequence = shape_.tokens * extent_.vectors_per_row;
  arguments.x = x;
  arguments.gain = value_of(gain_);
  arguments.bias = value_of(bias_);
  arguments.alpha = value_of(alpha_);
  arguments.offset = value_of(offset_);
  arguments.dy = dy;
  arguments.dx = dx;
  arguments.dgain = gradient_of(gain_);
  arguments.dbias = gradient_of(bias_);
  arguments.dalpha = gradient_of(alpha_);
  arguments.doffset = gradient_of(offset_);
  return arguments;
}

void NormLayer::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows() * extent_.vectors_per_row;
  const Tensor row(nullptr, shape_.compute, {rows, extent_.width});
  if (present()) {
    mean_ = plan.persistent(name_ + ".mean", shape_.master(), {rows, extent_.groups});
    rstd_ = plan.persistent(name_ + ".rstd", shape_.master(), {rows, extent_.groups});
  }
  if (gain_ != nullptr) {
    MomentsArguments moments;
    moments.x = Tensor(nullptr, shape_.master(), {1, gain_->shape.elements()});
    moments.moments.scalars = Tensor(nullptr, DType::Float64, {kMomentScalars});
    plan.require_workspace(backend.moments().moments_workspace(moments));
  }
  NormForward forward = forward_arguments(row, row);
  // A scale and moments may come with any call; ask for the larger need.
  forward.moments.scalars = Tensor(nullptr, DType::Float64, {kMomentScalars});
  forward.moments.column_sum = Tensor(nullptr, DType::Float64, {extent_.width});
  forward.moments.column_square = forward.moments.shift = forward.moments.column_sum;
  plan.require_workspace(backend.norm().norm_forward_workspace(forward));
  NormBackward backward = backward_arguments(row, row, row);
  backward.dscale.feature = Tensor(nullptr, shape_.master(), {extent_.width});
  backward.scale.feature = backward.dscale.feature;
  plan.require_workspace(backend.norm().norm_backward_workspace(backward));
  if (present()) plan_observations(backend, plan, row);
}

void NormLayer::plan_observations(Backend& backend, ArenaPlan& plan, const Tensor& x) const {
  const Tensor count(nullptr, DType::Float64, {1}), scalar(nullptr, shape_.master(), {1});
  const Tensor rstd(nullptr, shape_.master(), {x.rows(), extent_.groups});
  plan.require_workspace(
      backend.observations().count_above_workspace({.x = rstd, .count = count, .workspace = {}}));
  plan.require_workspace(backend.observations().count_saturated_workspace(
      {.x = x, .alpha = scalar, .offset = scalar, .count = count, .workspace = {}}));
}

void NormLayer::observe(const Context& context, const Tensor& x) const {
  if (!present() || context.probes == nullptr || context.probes->norms.empty()) return;
  const NormProbe& probe = context.probes->norms[static_cast<std::size_t>(index_)];
  const ObservationOps& ops = context.backend.observations();
  if (!is_bounded_function(kind_) && probe.small_vectors.defined()) {
    ops.count_above(context.stream, {.x = context.tensor(rstd_),
                                     .threshold = 1 / std::sqrt(kSmallInEpsilons * epsilon_),
                                     .count = probe.small_vectors,
                                     .workspace = context.workspace()});
  }
  if (is_bounded_function(kind_) && probe.saturated.defined()) {
    ops.count_saturated(context.stream, {.x = x,
                                         .alpha = value_of(alpha_),
                                         .offset = value_of(offset_),
                                         .count = probe.saturated,
                                         .workspace = context.workspace()});
  }
}

std::vector<Parameter*> NormLayer::parameters() const {
  std::vector<Parameter*> list;
  for (Parameter* parameter : {gain_, bias_, alpha_, offset_}) {
    if (parameter != nullptr) list.push_back(parameter);
  }
  return list;
}

void NormLayer::forward(const Context& context, const Tensor& x, const Tensor& y, const Coefficient& scale,
                        const MomentsView& moments) const {
  NormForward arguments = forward_arguments(x, y);
  arguments.scale = scale;
  arguments.mean = context.tensor(mean_);
  arguments.rstd = context.tensor(rstd_);
  arguments.moments = moments;
  arguments.workspace = context.workspace();
  context.backend.norm().norm_forward(context.stream, arguments);
  observe(context, x);
}

void NormLayer::backward(const Context& context, const Tensor& x, const Tensor& dy, const Tensor& dx,
                         bool accumulate, const Coefficient& scale, const CoefficientGradient& dscale) const {
  NormBackward arguments = backward_arguments(x, dy, dx);
  arguments.scale = scale;
  arguments.dscale = dscale;
  arguments.mean = context.tensor(mean_);
  arguments.rstd = context.tensor(rstd_);
  arguments.accumulate_dx = accumulate;
  arguments.workspace = context.workspace();
  context.backend.norm().norm_backward(context.stream, arguments);
}

}  // namespace plumb

#include "nn/feed_forward.h"

#include <utility>

#include "core/error.h"

namespace plumb {

ActivationKind activation_from_name(const std::string& name) {
  if (name == "gelu") return ActivationKind::Gelu;
  if (name == "gelu_tanh") return ActivationKind::GeluTanh;
  if (name == "relu") return ActivationKind::Relu;
  if (name == "relu_squared") return ActivationKind::ReluSquared;
  if (name == "silu") return ActivationKind::Silu;
  if (name == "swiglu") return ActivationKind::SwiGlu;
  if (name == "geglu") return ActivationKind::GeGlu;
  fail_input("activation '{}' is unknown; known: gelu, gelu_tanh, relu, relu_squared, silu, swiglu, geglu",
             name);
}

namespace {

Tensor first_entries(const Tensor& vector, std::int64_t count) {
  return vector.reshaped({vector.elements(), 1}).row_range(0, count).reshaped({count});
}

}  // namespace

std::int64_t ffn_hidden_width(const ModelConfig& model, ActivationKind kind) {
  if (model.ffn_hidden > 0) return model.ffn_hidden;
  if (!is_gated(kind)) return 4 * model.width;
  return (8 * model.width / 3 + 7) / 8 * 8;
}

FeedForward::FeedForward(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
                         const DepthPosition& position, FeedForwardWeights weights, const ModelShape& shape,
                         ParameterStore& store, StepValues& values)
    : kind_(activation_from_name(config.activation)),
      recomputes_(shape.recompute == Recompute::FeedForward),
      is_made_again_(recomputes_ && position.sublayer + 1 < position.sublayers),
      hidden_(ffn_hidden_width(model, kind_)),
      sublayer_(position.sublayer),
      name_(name),
      shape_(shape),
      bias_in_(config.branch_biases, name + ".bias_in", store),
      bias_hidden_(config.branch_biases, name + ".bias_hidden", store),
      bias_out_(config.branch_biases, name + ".bias_out", store),
      expand_(name + ".expand", model.width, is_gated(kind_) ? 2 * hidden_ : hidden_, model.biases,
              std::move(weights.expand), shape, store),
      gain_(config.gain.ffn, name + ".gain_ffn", position, {expand_.out(), model.width}, store, values),
      gain_norm_(NormConfig{}, "none", name + ".gain", {.width = expand_.out()}, shape, store),
      norm_inner_(config.norm.ffn_inner, model.norm_kind, name + ".norm_ffn_inner", {.width = hidden_}, shape,
                  store),
      contract_(name + ".contract", hidden_, model.width, model.biases, std::move(weights.contract), shape,
                store) {}

void FeedForward::plan(Backend& backend, ArenaPlan& plan) {
  const RecomputedSpan span(plan, recomputes_);
  const std::int64_t rows = shape_.rows();
  const auto keep = [&](const char* suffix, std::int64_t columns) {
    return plan.persistent(name_ + suffix, shape_.compute, {rows, columns});
  };
  if (bias_in_.present()) biased_ = keep(".biased", expand_.in());
  pre_ = keep(".pre", expand_.out());
  if (has_gain()) gained_ = keep(".gained", expand_.out());
  if (norm_inner_.present()) normed_ = keep(".normed", hidden_);
  dhidden_ = plan.transient(name_ + ".dhidden", shape_.compute, {rows, hidden_});
  hidden_slot_ = remakes_hidden() ? dhidden_ : keep(".hidden", hidden_);
  for (Module* part : std::initializer_list<Module*>{&expand_, &norm_inner_, &contract_}) {
    part->plan(backend, plan);
  }
  if (has_gain()) gain_norm_.plan(backend, plan);
  gain_.plan(shape_, plan);
  bias_in_.plan(backend, plan, shape_, expand_.in());
  bias_hidden_.plan(backend, plan, shape_, expand_.out());
  bias_out_.plan(backend, plan, shape_, hidden_);
  ActivationBackward backward;
  backward.kind = kind_;
  backward.pre = backward.dpre = Tensor(nullptr, shape_.compute, {rows, expand_.out()});
  backward.bias = backward.dbias = Tensor(nullptr, shape_.master(), {expand_.out()});
  backward.dh = Tensor(nullptr, shape_.compute, {rows, hidden_});
  plan.require_workspace(backend.activation().activation_backward_workspace(backward));
  plan.require_workspace(
      backend.observations().column_maxima_workspace({.x = backward.pre.columns(0, hidden_),
                                                      .bias = Tensor(nullptr, shape_.master(), {hidden_}),
                                                      .maxima = Tensor(nullptr, DType::Float64, {hidden_}),
                                                      .workspace = {}}));
}

std::vector<Parameter*> FeedForward::parameters() const {
  std::vector<Parameter*> list;
  const auto append_one = [&](Parameter* parameter) {
    if (parameter != nullptr) list.push_back(parameter);
  };
  const auto append = [&](const Module& part) {
    for (Parameter* parameter : part.parameters()) list.push_back(parameter);
  };
  for (const BranchBias* bias : {&bias_in_, &bias_hidden_, &bias_out_}) append_one(bias->parameter());
  append(expand_);
  append_one(gain_.parameter());
  append(norm_inner_);
  append(contract_);
  return list;
}

void FeedForward::forward(const Context& context, const Tensor& u, const Tensor& y) {
  Tensor input = u;
  if (bias_in_.present()) {
    input = context.tensor(biased_);
    bias_in_.forward(context, u, input);
  }
  const Tensor pre = context.tensor(pre_), hidden = context.tensor(hidden_slot_);
  expand_.forward(context, input, pre, /*with_bias=*/has_gain());
  gain_.begin(context);
  if (has_gain()) gain_norm_.forward(context, pre, pre_activation(context), gain_.coefficient(context));
  if (bias_hidden_.present()) bias_hidden_.forward(context, pre_activation(context), pre_activation(context));
  observe_units(context);
  if (remakes_hidden() && !y.defined()) return;
  context.backend.activation().activation_forward(
      context.stream, {.kind = kind_, .pre = pre_activation(context), .bias = fused_bias(), .h = hidden});
  if (norm_inner_.present()) norm_inner_.forward(context, hidden, context.tensor(normed_));
  const Tensor last = contract_input(context);
  if (bias_out_.present()) bias_out_.forward(context, last, last);
  if (y.defined()) contract_.forward(context, last, y);
}

// A gated unit is as dead as its gate.
void FeedForward::observe_units(const Context& context) const {
  if (context.probes == nullptr || context.probes->unit_maxima.empty()) return;
  const Tensor bias = fused_bias();
  context.backend.observations().column_maxima(
      context.stream, {.x = pre_activation(context).columns(0, hidden_),
                       .bias = bias.defined() ? first_entries(bias, hidden_) : Tensor(),
                       .maxima = context.probes->unit_maxima[static_cast<std::size_t>(sublayer_)],
                       .workspace = context.workspace()});
}

void FeedForward::backward(const Context& context, const BranchInput& u, const Tensor& dy, const Tensor& du) {
  if (is_made_again_) {
    const PhaseRange range(context.backend, kRecomputeRange);
    forward(context.made_again(), u.read(context), Tensor());
  }
  const Tensor dhidden = context.tensor(dhidden_);
  if (!remakes_hidden()) contract_.backward_weight(context, contract_input(context), dy);
  contract_.backward_input(context, dy, dhidden);
  if (bias_out_.present()) bias_out_.backward(context, dhidden);
  if (norm_inner_.present()) {
    norm_inner_.backward(context, context.tensor(hidden_slot_), dhidden, dhidden, false);
  }
  // The pre-activation is not needed again, so its gradient takes its place.
  const Tensor dpre = pre_activation(context);
  context.backend.activation().activation_backward(context.stream,
                                                   {.kind = kind_,
                                                    .pre = dpre,
                                                    .bias = fused_bias(),
                                                    .dh = dhidden,
                                                    .dpre = dpre,
                                                    .dbias = has_gain() ? Tensor() : expand_.bias_gradient(),
                                                    .workspace = context.workspace(),
                                                    .h = remakes_hidden() ? dhidden : Tensor()});
  if (remakes_hidden()) contract_.backward_weight(context, dhidden, dy);
  if (bias_hidden_.present()) bias_hidden_.backward(context, dpre);
  if (has_gain()) {
    gain_norm_.backward(context, context.tensor(pre_), dpre, dpre, false, gain_.coefficient(context),
                        gain_.gradient(context));
  }
  expand_.backward(context, bias_in_.present() ? context.tensor(biased_) : u.read(context), dpre, du,
                   /*with_bias=*/has_gain());
  if (bias_in_.present()) bias_in_.backward(context, du);
}

}  // namespace plumb

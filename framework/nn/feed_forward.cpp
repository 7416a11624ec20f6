#include "nn/feed_forward.h"

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

std::int64_t ffn_hidden_width(const ModelConfig& model, ActivationKind kind) {
  if (model.ffn_hidden > 0) return model.ffn_hidden;
  if (!is_gated(kind)) return 4 * model.width;
  return (8 * model.width / 3 + 7) / 8 * 8;
}

FeedForward::FeedForward(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
                         InitRule inner_init, InitRule projection_init, const ModelShape& shape,
                         ParameterStore& store)
    : kind_(activation_from_name(config.activation)),
      hidden_(ffn_hidden_width(model, kind_)),
      name_(name),
      shape_(shape),
      expand_(name + ".expand", model.width, is_gated(kind_) ? 2 * hidden_ : hidden_, model.biases,
              inner_init, shape, store),
      norm_inner_(config.norm.ffn_inner, model.norm_kind, name + ".norm_ffn_inner", {.width = hidden_}, shape,
                  store),
      contract_(name + ".contract", hidden_, model.width, model.biases, projection_init, shape, store) {}

void FeedForward::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows();
  pre_ = plan.persistent(name_ + ".pre", shape_.compute, {rows, expand_.out()});
  hidden_slot_ = plan.persistent(name_ + ".hidden", shape_.compute, {rows, hidden_});
  if (norm_inner_.present()) normed_ = plan.persistent(name_ + ".normed", shape_.compute, {rows, hidden_});
  dhidden_ = plan.transient(name_ + ".dhidden", shape_.compute, {rows, hidden_});
  expand_.plan(backend, plan);
  norm_inner_.plan(backend, plan);
  contract_.plan(backend, plan);
  ActivationBackward backward;
  backward.kind = kind_;
  backward.pre = backward.dpre = Tensor(nullptr, shape_.compute, {rows, expand_.out()});
  backward.bias = backward.dbias = Tensor(nullptr, shape_.master(), {expand_.out()});
  backward.dh = Tensor(nullptr, shape_.compute, {rows, hidden_});
  plan.require_workspace(backend.activation().activation_backward_workspace(backward));
}

std::vector<Parameter*> FeedForward::parameters() const {
  std::vector<Parameter*> list = expand_.parameters();
  for (Parameter* parameter : norm_inner_.parameters()) list.push_back(parameter);
  for (Parameter* parameter : contract_.parameters()) list.push_back(parameter);
  return list;
}

void FeedForward::forward(const Context& context, const Tensor& u, const Tensor& y) {
  const Tensor pre = context.tensor(pre_);
  Tensor hidden = context.tensor(hidden_slot_);
  expand_.forward(context, u, pre, /*with_bias=*/false);
  context.backend.activation().activation_forward(
      context.stream, {.kind = kind_, .pre = pre, .bias = expand_.bias(), .h = hidden});
  if (norm_inner_.present()) {
    const Tensor normed = context.tensor(normed_);
    norm_inner_.forward(context, hidden, normed);
    hidden = normed;
  }
  contract_.forward(context, hidden, y);
}

void FeedForward::backward(const Context& context, const Tensor& u, const Tensor& dy, const Tensor& du) {
  const Tensor pre = context.tensor(pre_);
  const Tensor hidden = context.tensor(hidden_slot_);
  const Tensor dhidden = context.tensor(dhidden_);
  contract_.backward(context, norm_inner_.present() ? context.tensor(normed_) : hidden, dy, dhidden);
  if (norm_inner_.present()) norm_inner_.backward(context, hidden, dhidden, dhidden, false);
  // The pre-activation is not needed again, so its gradient takes its place.
  context.backend.activation().activation_backward(context.stream, {.kind = kind_,
                                                                    .pre = pre,
                                                                    .bias = expand_.bias(),
                                                                    .dh = dhidden,
                                                                    .dpre = pre,
                                                                    .dbias = expand_.bias_gradient(),
                                                                    .workspace = context.workspace()});
  expand_.backward(context, u, pre, du, /*with_bias=*/false);
}

}  // namespace plumb

#include "nn/attention.h"

#include <cmath>

#include "nn/random_sites.h"

namespace plumb {
namespace {

NormExtent head_extent(const std::string& extent, std::int64_t heads, std::int64_t head_width) {
  const bool per_head = extent == "head";
  return {.width = heads * head_width, .groups = per_head ? heads : 1, .shared_parameters = per_head};
}

}  // namespace

Attention::Attention(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
                     std::int64_t sublayer, InitRule inner_init, InitRule projection_init,
                     const ModelShape& shape, ParameterStore& store)
    : sublayer_(sublayer),
      heads_(model.heads),
      head_width_(model.resolved_head_width()),
      rotary_(model.position == "rotary"),
      causal_(model.causal),
      rotary_base_(model.rotary_base),
      scale_(model.attention_scale > 0 ? model.attention_scale
                                       : 1 / std::sqrt(static_cast<double>(model.resolved_head_width()))),
      soft_cap_(model.attention_soft_cap),
      dropout_(model.dropout_attention),
      name_(name),
      shape_(shape),
      qkv_(name + ".qkv", model.width, 3 * heads_ * head_width_, model.biases, inner_init, shape, store),
      norm_q_(config.norm.qk, model.norm_kind, name + ".norm_q",
              head_extent(config.qk_norm_extent, heads_, head_width_), shape, store),
      norm_k_(config.norm.qk, model.norm_kind, name + ".norm_k",
              head_extent(config.qk_norm_extent, heads_, head_width_), shape, store),
      norm_v_(config.norm.v, model.norm_kind, name + ".norm_v",
              head_extent(config.v_norm_extent, heads_, head_width_), shape, store),
      head_gain_(config.head_gains ? store.declare({.name = name + ".head_gain",
                                                    .shape = {heads_},
                                                    .init = InitRule::constant(1),
                                                    .weight_decay = false})
                                   : nullptr),
      norm_pre_projection_(config.norm.pre_projection, model.norm_kind, name + ".norm_pre_projection",
                           {.width = heads_ * head_width_}, shape, store),
      projection_(name + ".projection", heads_ * head_width_, model.width, model.biases, projection_init,
                  shape, store) {}

AttentionShape Attention::attention_shape(const Context* context) const {
  AttentionShape shape;
  shape.batch = shape_.batch;
  shape.tokens = shape_.tokens;
  shape.heads = heads_;
  shape.width = head_width_;
  shape.causal = causal_;
  shape.scale = scale_;
  shape.soft_cap = soft_cap_;
  shape.dropout = context == nullptr || context->training ? dropout_ : 0;
  if (context != nullptr) {
    shape.site = {context->seed, random_site(sublayer_, RandomPurpose::AttentionDropout), context->counters};
  }
  return shape;
}

void Attention::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows(), width = heads_ * head_width_;
  const auto keep = [&](const char* suffix, std::int64_t columns) {
    return plan.persistent(name_ + suffix, shape_.compute, {rows, columns});
  };
  qkv_slot_ = keep(".qkv", 3 * width);
  if (norm_q_.present()) q_slot_ = keep(".q", width);
  if (norm_k_.present()) k_slot_ = keep(".k", width);
  if (norm_v_.present()) v_slot_ = keep(".v", width);
  log_sum_exp_ =
      plan.persistent(name_ + ".log_sum_exp", shape_.master(), {shape_.batch, heads_, shape_.tokens});
  out_slot_ = keep(".out", width);
  if (head_gain_ != nullptr) gained_slot_ = keep(".gained", width);
  if (norm_pre_projection_.present()) pre_projection_slot_ = keep(".pre_projection", width);
  dprojection_input_ = plan.transient(name_ + ".dprojection_input", shape_.compute, {rows, width});
  dqkv_ = plan.transient(name_ + ".dqkv", shape_.compute, {rows, 3 * width});

  for (Module* part : std::initializer_list<Module*>{&qkv_, &norm_q_, &norm_k_, &norm_v_,
                                                     &norm_pre_projection_, &projection_}) {
    part->plan(backend, plan);
  }
  const Tensor packed(nullptr, shape_.compute, {rows, 3 * width});
  const Tensor part = packed.columns(0, width);
  const Tensor contiguous(nullptr, shape_.compute, {rows, width});
  const Tensor log_sum_exp(nullptr, shape_.master(), {shape_.batch, heads_, shape_.tokens});
  const AttentionOps& ops = backend.attention();
  AttentionForward forward;
  forward.shape = attention_shape(nullptr);
  forward.q = forward.k = forward.v = part;
  forward.out = contiguous;
  forward.log_sum_exp = log_sum_exp;
  plan.require_workspace(ops.attention_forward_workspace(forward));
  AttentionBackward backward;
  backward.shape = forward.shape;
  backward.q = backward.k = backward.v = backward.dq = backward.dk = backward.dv = part;
  backward.out = backward.dout = contiguous;
  backward.log_sum_exp = log_sum_exp;
  plan.require_workspace(ops.attention_backward_workspace(backward));
  if (rotary_) {
    ops.prepare_rotary(
        {.tokens = shape_.tokens, .heads = heads_, .width = head_width_, .base = rotary_base_, .x = {}});
  }
  if (head_gain_ != nullptr) {
    GroupGainBackward gain;
    gain.groups = heads_;
    gain.x = gain.dy = gain.dx = contiguous;
    gain.gain = gain.dgain = Tensor(nullptr, shape_.master(), {heads_});
    plan.require_workspace(backend.elementwise().group_gain_backward_workspace(gain));
  }
}

std::vector<Parameter*> Attention::parameters() const {
  std::vector<Parameter*> list = qkv_.parameters();
  for (const NormLayer* norm : {&norm_q_, &norm_k_, &norm_v_}) {
    for (Parameter* parameter : norm->parameters()) list.push_back(parameter);
  }
  if (head_gain_ != nullptr) list.push_back(head_gain_);
  for (Parameter* parameter : norm_pre_projection_.parameters()) list.push_back(parameter);
  for (Parameter* parameter : projection_.parameters()) list.push_back(parameter);
  return list;
}

void Attention::rotate(const Context& context, const Tensor& x, bool inverse) const {
  if (!rotary_) return;
  context.backend.attention().rotary(context.stream, {.tokens = shape_.tokens,
                                                      .heads = heads_,
                                                      .width = head_width_,
                                                      .base = rotary_base_,
                                                      .inverse = inverse,
                                                      .x = x});
}

Tensor Attention::normed(const Context& context, const NormLayer& norm, Slot slot, int part) const {
  const std::int64_t width = heads_ * head_width_;
  return norm.present() ? context.tensor(slot) : context.tensor(qkv_slot_).columns(part * width, width);
}

void Attention::forward(const Context& context, const Tensor& u, const Tensor& y) {
  const std::int64_t width = heads_ * head_width_;
  const Tensor qkv = context.tensor(qkv_slot_);
  qkv_.forward(context, u, qkv);
  const Tensor q = normed(context, norm_q_, q_slot_, 0);
  const Tensor k = normed(context, norm_k_, k_slot_, 1);
  const Tensor v = normed(context, norm_v_, v_slot_, 2);
  if (norm_q_.present()) norm_q_.forward(context, qkv.columns(0, width), q);
  if (norm_k_.present()) norm_k_.forward(context, qkv.columns(width, width), k);
  if (norm_v_.present()) norm_v_.forward(context, qkv.columns(2 * width, width), v);
  rotate(context, q, false);
  rotate(context, k, false);

  AttentionForward arguments;
  arguments.shape = attention_shape(&context);
  arguments.q = q;
  arguments.k = k;
  arguments.v = v;
  arguments.out = context.tensor(out_slot_);
  arguments.log_sum_exp = context.tensor(log_sum_exp_);
  if (context.probes != nullptr && !context.probes->max_attention_logit.empty()) {
    arguments.max_logit = context.probes->max_attention_logit[static_cast<std::size_t>(sublayer_)];
  }
  arguments.workspace = context.workspace();
  context.backend.attention().attention_forward(context.stream, arguments);

  Tensor head_out = arguments.out;
  if (head_gain_ != nullptr) {
    const Tensor gained = context.tensor(gained_slot_);
    context.backend.elementwise().group_gain_forward(
        context.stream, {.groups = heads_, .x = head_out, .gain = head_gain_->value, .y = gained});
    head_out = gained;
  }
  if (norm_pre_projection_.present()) {
    const Tensor normed_out = context.tensor(pre_projection_slot_);
    norm_pre_projection_.forward(context, head_out, normed_out);
    head_out = normed_out;
  }
  projection_.forward(context, head_out, y);
}

void Attention::backward(const Context& context, const Tensor& u, const Tensor& dy, const Tensor& du) {
  const std::int64_t width = heads_ * head_width_;
  const Tensor out = context.tensor(out_slot_);
  const Tensor gained = head_gain_ != nullptr ? context.tensor(gained_slot_) : out;
  const Tensor projected = norm_pre_projection_.present() ? context.tensor(pre_projection_slot_) : gained;
  const Tensor dout = context.tensor(dprojection_input_);
  projection_.backward(context, projected, dy, dout);
  if (norm_pre_projection_.present()) norm_pre_projection_.backward(context, gained, dout, dout, false);
  if (head_gain_ != nullptr) {
    context.backend.elementwise().group_gain_backward(context.stream, {.groups = heads_,
                                                                       .x = out,
                                                                       .gain = head_gain_->value,
                                                                       .dy = dout,
                                                                       .dx = dout,
                                                                       .dgain = head_gain_->gradient,
                                                                       .workspace = context.workspace()});
  }

  const Tensor dqkv = context.tensor(dqkv_);
  AttentionBackward arguments;
  arguments.shape = attention_shape(&context);
  arguments.q = normed(context, norm_q_, q_slot_, 0);
  arguments.k = normed(context, norm_k_, k_slot_, 1);
  arguments.v = normed(context, norm_v_, v_slot_, 2);
  arguments.out = out;
  arguments.log_sum_exp = context.tensor(log_sum_exp_);
  arguments.dout = dout;
  arguments.dq = dqkv.columns(0, width);
  arguments.dk = dqkv.columns(width, width);
  arguments.dv = dqkv.columns(2 * width, width);
  arguments.workspace = context.workspace();
  context.backend.attention().attention_backward(context.stream, arguments);
  if (context.listener != nullptr) context.listener->progress();

  rotate(context, arguments.dq, true);
  rotate(context, arguments.dk, true);
  const Tensor qkv = context.tensor(qkv_slot_);
  if (norm_q_.present()) norm_q_.backward(context, qkv.columns(0, width), arguments.dq, arguments.dq, false);
  if (norm_k_.present())
    norm_k_.backward(context, qkv.columns(width, width), arguments.dk, arguments.dk, false);
  if (norm_v_.present())
    norm_v_.backward(context, qkv.columns(2 * width, width), arguments.dv, arguments.dv, false);
  qkv_.backward(context, u, dqkv, du);
}

}  // namespace plumb

#include "nn/attention.h"

#include <cmath>
#include <utility>

#include "nn/random_sites.h"

namespace plumb {
namespace {

NormExtent head_extent(const std::string& extent, std::int64_t heads, std::int64_t head_width) {
  const bool per_head = extent == "head";
  return {.width = heads * head_width, .groups = per_head ? heads : 1, .shared_parameters = per_head};
}

/// The first attention has no earlier values to add.
KnobConfig absent() {
  KnobConfig knob;
  knob.value = 0;
  return knob;
}

}  // namespace

Attention::Attention(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
                     const DepthPosition& position, AttentionWeights weights, const Attention* first,
                     const ModelShape& shape, ParameterStore& store, StepValues& values)
    : sublayer_(position.sublayer),
      heads_(model.heads),
      head_width_(model.resolved_head_width()),
      rotary_(model.position == "rotary"),
      causal_(model.causal),
      rotary_base_(model.rotary_base),
      scale_(model.attention_scale > 0
                 ? model.attention_scale
                 : std::pow(static_cast<double>(model.resolved_head_width()),
                            model.attention_scale_by == "sqrt(head_width)" ? 0.5 : -0.5)),
      soft_cap_(model.attention_soft_cap),
      dropout_(model.dropout_attention),
      name_(name),
      shape_(shape),
      first_(first),
      bias_in_(config.branch_biases, name + ".bias_in", store),
      qkv_(name + ".qkv", model.width, 3 * heads_ * head_width_, model.biases, std::move(weights.qkv), shape,
           store),
      norm_q_(config.norm.qk, model.norm_kind, name + ".norm_q",
              head_extent(config.qk_norm_extent, heads_, head_width_), shape, store),
      norm_k_(config.norm.qk, model.norm_kind, name + ".norm_k",
              head_extent(config.qk_norm_extent, heads_, head_width_), shape, store),
      norm_v_(config.norm.v, model.norm_kind, name + ".norm_v",
              head_extent(config.v_norm_extent, heads_, head_width_), shape, store),
      qk_gain_(config.gain.qk, name + ".gain_qk", position, {heads_ * head_width_, model.width}, store,
               values),
      value_gain_(config.gain.value, name + ".gain_value", position, {heads_ * head_width_, model.width},
                  store, values),
      first_value_gain_(first != nullptr ? config.gain.first_value : absent(), name + ".gain_first_value",
                        position, {heads_ * head_width_, model.width}, store, values),
      gain_norm_(NormConfig{}, "none", name + ".gain", {.width = heads_ * head_width_}, shape, store),
      head_gain_(config.head_gains ? store.declare({.name = name + ".head_gain",
                                                    .shape = {heads_},
                                                    .init = InitRule::constant(1),
                                                    .weight_decay = false})
                                   : nullptr),
      norm_pre_projection_(config.norm.pre_projection, model.norm_kind, name + ".norm_pre_projection",
                           {.width = heads_ * head_width_}, shape, store),
      projection_(name + ".projection", heads_ * head_width_, model.width, model.biases,
                  std::move(weights.projection), shape, store) {}

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
  const auto scratch = [&](const char* suffix, std::int64_t columns) {
    return plan.transient(name_ + suffix, shape_.compute, {rows, columns});
  };
  if (bias_in_.present()) biased_ = keep(".biased", qkv_.in());
  qkv_slot_ = keep(".qkv", 3 * width);
  if (norm_q_.present()) {
    q_slot_ = keep(".q", width);
    k_slot_ = keep(".k", width);
  }
  if (gains_qk()) {
    q_gained_ = keep(".q_gained", width);
    k_gained_ = keep(".k_gained", width);
    gain_norm_.plan(backend, plan);
  }
  // What attention of later blocks reads and adds to outlives this block's pass.
  const auto last_for_later = [&](const char* suffix) {
    return plan.lasting(name_ + suffix, shape_.compute, {rows, width});
  };
  if (transforms_v()) v_slot_ = serves_later_ ? last_for_later(".v") : keep(".v", width);
  if (reads_first_values()) {
    mixed_slot_ = keep(".mixed_values", width);
    dfirst_ = scratch(".dfirst_values", width);
  }
  if (serves_later_) dfirst_sum_ = last_for_later(".dfirst_values_sum");
  log_sum_exp_ =
      plan.persistent(name_ + ".log_sum_exp", shape_.master(), {shape_.batch, heads_, shape_.tokens});
  out_slot_ = keep(".out", width);
  if (head_gain_ != nullptr) gained_slot_ = keep(".gained", width);
  if (norm_pre_projection_.present()) pre_projection_slot_ = keep(".pre_projection", width);
  dprojection_input_ = scratch(".dprojection_input", width);
  dqkv_ = scratch(".dqkv", 3 * width);
  if (transforms_v()) dv_ = scratch(".dv", width);

  for (Module* part : std::initializer_list<Module*>{&qkv_, &norm_q_, &norm_k_, &norm_v_,
                                                     &norm_pre_projection_, &projection_}) {
    part->plan(backend, plan);
  }
  for (Knob* gain : {&qk_gain_, &value_gain_, &first_value_gain_}) gain->plan(shape_, plan);
  bias_in_.plan(backend, plan, shape_, qkv_.in());
  plan_ops(backend, plan);
}

void Attention::plan_ops(Backend& backend, ArenaPlan& plan) const {
  const std::int64_t rows = shape_.rows(), width = heads_ * head_width_;
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
  forward.entropy_sums = Tensor(nullptr, DType::Float64, {heads_});
  forward.max_logit = Tensor(nullptr, DType::Float64, {1});
  plan.require_workspace(ops.attention_forward_workspace(forward));
  AttentionBackward backward;
  backward.shape = forward.shape;
  backward.q = backward.k = backward.v = backward.dq = backward.dk = backward.dv = part;
  backward.out = backward.dout = contiguous;
  backward.log_sum_exp = log_sum_exp;
  plan.require_workspace(ops.attention_backward_workspace(backward));
  if (reads_first_values()) {
    ResidualForward mixing;
    mixing.rows_per_sequence = shape_.tokens;
    mixing.x = mixing.z = mixing.out = contiguous;
    plan.require_workspace(backend.residual().residual_forward_workspace(mixing));
    ResidualBackward mixing_backward;
    mixing_backward.rows_per_sequence = shape_.tokens;
    mixing_backward.x = mixing_backward.z = mixing_backward.dout = mixing_backward.dx = mixing_backward.dz =
        contiguous;
    mixing_backward.db.feature = Tensor(nullptr, shape_.master(), {width});
    plan.require_workspace(backend.residual().residual_backward_workspace(mixing_backward));
  }
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
  std::vector<Parameter*> list;
  const auto append = [&](const Module& part) {
    for (Parameter* parameter : part.parameters()) list.push_back(parameter);
  };
  const auto append_one = [&](Parameter* parameter) {
    if (parameter != nullptr) list.push_back(parameter);
  };
  append_one(bias_in_.parameter());
  append(qkv_);
  for (const NormLayer* norm : {&norm_q_, &norm_k_, &norm_v_}) append(*norm);
  for (const Knob* gain : {&qk_gain_, &value_gain_, &first_value_gain_}) append_one(gain->parameter());
  append_one(head_gain_);
  append(norm_pre_projection_);
  append(projection_);
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

Tensor Attention::part(const Tensor& qkv, int index) const {
  const std::int64_t width = heads_ * head_width_;
  return qkv.columns(index * width, width);
}

Tensor Attention::rotated_queries(const Context& context) const {
  return norm_q_.present() ? context.tensor(q_slot_) : part(context.tensor(qkv_slot_), 0);
}

Tensor Attention::rotated_keys(const Context& context) const {
  return norm_k_.present() ? context.tensor(k_slot_) : part(context.tensor(qkv_slot_), 1);
}

Tensor Attention::queries(const Context& context) const {
  return gains_qk() ? context.tensor(q_gained_) : rotated_queries(context);
}

Tensor Attention::keys(const Context& context) const {
  return gains_qk() ? context.tensor(k_gained_) : rotated_keys(context);
}

Tensor Attention::own_values(const Context& context) const {
  return transforms_v() ? context.tensor(v_slot_) : part(context.tensor(qkv_slot_), 2);
}

Tensor Attention::values(const Context& context) const {
  return reads_first_values() ? context.tensor(mixed_slot_) : own_values(context);
}

void Attention::transform_inputs(const Context& context) const {
  const Tensor qkv = context.tensor(qkv_slot_);
  for (const Knob* gain : {&qk_gain_, &value_gain_, &first_value_gain_}) gain->begin(context);
  const Tensor q = rotated_queries(context), k = rotated_keys(context);
  if (norm_q_.present()) norm_q_.forward(context, part(qkv, 0), q);
  if (norm_k_.present()) norm_k_.forward(context, part(qkv, 1), k);
  rotate(context, q, false);
  rotate(context, k, false);
  if (gains_qk()) {
    gain_norm_.forward(context, q, queries(context), qk_gain_.coefficient(context));
    gain_norm_.forward(context, k, keys(context), qk_gain_.coefficient(context));
  }
  if (transforms_v()) {
    norm_v_.forward(context, part(qkv, 2), own_values(context), value_gain_.coefficient(context));
  }
  // Made again, it comes after backward of the later ones.
  if (serves_later_ && !context.again) {
    context.backend.elementwise().fill(context.stream, context.tensor(dfirst_sum_), 0);
  }
  if (reads_first_values()) {
    ResidualForward mixing;
    mixing.rows_per_sequence = shape_.tokens;
    mixing.x = own_values(context);
    mixing.z = first_->own_values(context);
    mixing.b = first_value_gain_.coefficient(context);
    mixing.out = values(context);
    mixing.workspace = context.workspace();
    context.backend.residual().residual_forward(context.stream, mixing);
  }
}

void Attention::mix_values_backward(const Context& context, const Tensor& dv) const {
  const ElementwiseOps& ops = context.backend.elementwise();
  if (reads_first_values()) {
    ResidualBackward mixing;
    mixing.rows_per_sequence = shape_.tokens;
    mixing.x = own_values(context);
    mixing.z = first_->own_values(context);
    mixing.b = first_value_gain_.coefficient(context);
    mixing.db = first_value_gain_.gradient(context);
    mixing.dout = mixing.dx = dv;
    mixing.dz = context.tensor(dfirst_);
    mixing.workspace = context.workspace();
    context.backend.residual().residual_backward(context.stream, mixing);
    ops.add(context.stream, context.tensor(dfirst_), context.tensor(first_->dfirst_sum_));
  }
  // All later sublayers have been through backward by now.
  if (serves_later_) ops.add(context.stream, context.tensor(dfirst_sum_), dv);
}

void Attention::transform_inputs_backward(const Context& context, const Tensor& dqkv) const {
  const Tensor qkv = context.tensor(qkv_slot_);
  const Tensor dq = part(dqkv, 0), dk = part(dqkv, 1);
  if (gains_qk()) {
    const Coefficient gain = qk_gain_.coefficient(context);
    const CoefficientGradient dgain = qk_gain_.gradient(context);
    gain_norm_.backward(context, rotated_queries(context), dq, dq, false, gain, dgain);
    gain_norm_.backward(context, rotated_keys(context), dk, dk, false, gain, dgain);
  }
  rotate(context, dq, true);
  rotate(context, dk, true);
  if (norm_q_.present()) norm_q_.backward(context, part(qkv, 0), dq, dq, false);
  if (norm_k_.present()) norm_k_.backward(context, part(qkv, 1), dk, dk, false);
  if (transforms_v()) {
    const Tensor dv = context.tensor(dv_);
    mix_values_backward(context, dv);
    norm_v_.backward(context, part(qkv, 2), dv, part(dqkv, 2), false, value_gain_.coefficient(context),
                     value_gain_.gradient(context));
  }
}

Tensor Attention::transform_output(const Context& context, const Tensor& out) const {
  Tensor head_out = out;
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
  return head_out;
}

void Attention::transform_output_backward(const Context& context, const Tensor& out,
                                          const Tensor& dout) const {
  if (norm_pre_projection_.present()) {
    const Tensor gained = head_gain_ != nullptr ? context.tensor(gained_slot_) : out;
    norm_pre_projection_.backward(context, gained, dout, dout, false);
  }
  if (head_gain_ == nullptr) return;
  context.backend.elementwise().group_gain_backward(context.stream, {.groups = heads_,
                                                                     .x = out,
                                                                     .gain = head_gain_->value,
                                                                     .dy = dout,
                                                                     .dx = dout,
                                                                     .dgain = head_gain_->gradient,
                                                                     .workspace = context.workspace()});
}

void Attention::forward(const Context& context, const Tensor& u, const Tensor& y) {
  Tensor input = u;
  if (bias_in_.present()) {
    input = context.tensor(biased_);
    bias_in_.forward(context, u, input);
  }
  qkv_.forward(context, input, context.tensor(qkv_slot_));
  transform_inputs(context);

  AttentionForward arguments;
  arguments.shape = attention_shape(&context);
  arguments.q = queries(context);
  arguments.k = keys(context);
  arguments.v = values(context);
  arguments.out = context.tensor(out_slot_);
  arguments.log_sum_exp = context.tensor(log_sum_exp_);
  if (context.probes != nullptr && !context.probes->attention.empty()) {
    const AttentionProbe& probe = context.probes->attention[static_cast<std::size_t>(sublayer_)];
    arguments.entropy_sums = probe.entropy_sums;
    arguments.max_logit = probe.max_logit;
  }
  arguments.workspace = context.workspace();
  context.backend.attention().attention_forward(context.stream, arguments);
  const Tensor projected = transform_output(context, arguments.out);
  if (y.defined()) projection_.forward(context, projected, y);
}

void Attention::backward(const Context& context, const BranchInput& u, const Tensor& dy, const Tensor& du) {
  const Tensor out = context.tensor(out_slot_);
  const Tensor projected = norm_pre_projection_.present() ? context.tensor(pre_projection_slot_)
                           : head_gain_ != nullptr        ? context.tensor(gained_slot_)
                                                          : out;
  const Tensor dout = context.tensor(dprojection_input_);
  projection_.backward(context, projected, dy, dout);
  transform_output_backward(context, out, dout);

  const Tensor dqkv = context.tensor(dqkv_);
  AttentionBackward arguments;
  arguments.shape = attention_shape(&context);
  arguments.q = queries(context);
  arguments.k = keys(context);
  arguments.v = values(context);
  arguments.out = out;
  arguments.log_sum_exp = context.tensor(log_sum_exp_);
  arguments.dout = dout;
  arguments.dq = part(dqkv, 0);
  arguments.dk = part(dqkv, 1);
  arguments.dv = transforms_v() ? context.tensor(dv_) : part(dqkv, 2);
  arguments.workspace = context.workspace();
  context.backend.attention().attention_backward(context.stream, arguments);
  if (context.listener != nullptr) context.listener->progress();

  transform_inputs_backward(context, dqkv);
  qkv_.backward(context, bias_in_.present() ? context.tensor(biased_) : u.read(context), dqkv, du);
  if (bias_in_.present()) bias_in_.backward(context, du);
}

}  // namespace plumb

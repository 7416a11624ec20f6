#include "nn/streams/mixed_streams.h"

#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kInitialScale = 0.01;
/// Logits of mHC's initial mixing matrix off the diagonal, where exp is nearly 0; on it they are 0.
constexpr double kFarLogit = -8;

}  // namespace

MixedStreams::MixedStreams(const StreamAdapterParts& parts)
    : model_(parts.model),
      shape_(parts.shape),
      store_(parts.store),
      kind_(parts.model.streams.kind == "mhc" ? StreamWeightKind::Manifold : StreamWeightKind::Hyper),
      dynamic_(parts.model.streams.dynamic || kind_ == StreamWeightKind::Manifold),
      streams_(parts.model.streams.count) {}

// At the start every stream is the plain residual one: hyper reads stream k mod n and mixes nothing; mHC
// reads the mean (sigmoid(-ln(n-1)) = 1/n), writes with weight 1 and mixes next to nothing.
std::vector<double> MixedStreams::initial_base(std::int64_t sublayer) const {
  const bool hyper = kind_ == StreamWeightKind::Hyper;
  const double mean_logit = streams_ > 1 ? -std::log(static_cast<double>(streams_ - 1)) : -kFarLogit;
  std::vector<double> base;
  for (std::int64_t i = 0; i < streams_; ++i) {
    base.push_back(!hyper ? mean_logit : i == sublayer % streams_ ? 1 : 0);
    base.push_back(hyper ? 1 : 0);
    for (std::int64_t j = 0; j < streams_; ++j) {
      base.push_back(hyper ? (i == j ? 1 : 0) : (i == j ? 0 : kFarLogit));
    }
  }
  return base;
}

void MixedStreams::declare_sublayer(const std::string& name, const DepthPosition& position) {
  Site& site = sites_.emplace_back();
  site.name = name + ".streams";
  std::vector<InitRule> rules;
  for (double value : initial_base(position.sublayer)) rules.push_back(InitRule::constant(value));
  site.base = store_.declare({.name = site.name + ".base",
                              .shape = {weights_per_row()},
                              .init_parts = std::move(rules),
                              .weight_decay = false});
  site.parameters = {site.base};
  if (!dynamic_) return;
  const std::int64_t scales = kind_ == StreamWeightKind::Hyper ? 2 : 3;
  site.scales = store_.declare({.name = site.name + ".scales",
                                .shape = {scales},
                                .init = InitRule::constant(kInitialScale),
                                .weight_decay = false});
  const std::int64_t vectors = vectors_per_token(), width = streams_ / vectors * model_.width;
  site.norm.emplace(model_.stream_norm, model_.norm_kind, name + ".norm_stream",
                    NormExtent{.width = width, .vectors_per_row = vectors}, shape_, store_);
  site.projection.emplace(site.name + ".projection", width, weights_per_row() / vectors, false,
                          WeightSpec{.init = {InitRule::constant(0)}, .rows_per_token = vectors}, shape_,
                          store_);
  site.parameters.push_back(site.scales);
  for (const Module* part : std::initializer_list<const Module*>{&*site.norm, &*site.projection}) {
    for (Parameter* parameter : part->parameters()) site.parameters.push_back(parameter);
  }
}

void MixedStreams::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows(), width = model_.width;
  const auto keep = [&](const std::string& name, std::int64_t columns) {
    return plan.persistent(name, shape_.compute, {rows, columns});
  };
  states_ = {plan_own_state(plan, 0)};
  merged_ = keep("stream.merged", width);
  merged_gradient_ = keep("stream.merged_gradient", width);
  gradient_ = keep("stream.gradient", streams_ * width);
  step_gradient_ = keep("stream.step_gradient", width);
  input_gradient_ = keep("stream.input_gradient", width);
  if (dynamic_) {
    dweights_ = plan.persistent("stream.dweights", shape_.master(), {rows, weights_per_row()});
    draw_ = keep("stream.draw", weights_per_row());
    dnormed_ = keep("stream.dnormed", streams_ * width);
  }
  plan_ops(backend, plan);
}

Slot MixedStreams::plan_own_state(ArenaPlan& plan, std::int64_t k) const {
  return plan_state(plan, k, static_cast<std::int64_t>(model_.block.size()), shape_.compute,
                    {shape_.rows(), streams_ * model_.width});
}

void MixedStreams::plan_sublayer(Backend& backend, ArenaPlan& plan, const Sublayer& sublayer) {
  const std::int64_t rows = shape_.rows(), width = model_.width, k = sublayer.position().sublayer;
  Site& site = sites_[static_cast<std::size_t>(k)];
  states_.push_back(plan_own_state(plan, k + 1));
  site.input = plan.persistent(site.name + ".input", shape_.compute, {rows, width});
  site.step = plan.persistent(site.name + ".step", shape_.compute, {rows, width});
  if (!dynamic_) return;
  site.raw = plan.persistent(site.name + ".raw", shape_.compute, {rows, weights_per_row()});
  site.weights = plan.persistent(site.name + ".weights", shape_.master(), {rows, weights_per_row()});
  if (site.norm->present()) {
    site.normed = plan.persistent(site.name + ".normed", shape_.compute, {rows, streams_ * width});
    site.norm->plan(backend, plan);
  }
  site.projection->plan(backend, plan);
}

void MixedStreams::plan_ops(Backend& backend, ArenaPlan& plan) const {
  const std::int64_t rows = shape_.rows(), width = model_.width;
  const Tensor state(nullptr, shape_.compute, {rows, streams_ * width});
  const Tensor row(nullptr, shape_.compute, {rows, width});
  const Tensor weights(nullptr, shape_.master(), {dynamic_ ? rows : 1, weights_per_row()});
  const StreamMixOps& ops = backend.stream_mix();
  plan.require_workspace(ops.stream_read_backward_workspace({.streams = streams_,
                                                             .x = state,
                                                             .weights = weights,
                                                             .dh = row,
                                                             .dx = state,
                                                             .dweights = weights,
                                                             .workspace = {}}));
  plan.require_workspace(ops.stream_write_backward_workspace({.streams = streams_,
                                                              .x = state,
                                                              .o = row,
                                                              .weights = weights,
                                                              .dout = state,
                                                              .dx = state,
                                                              .do_ = row,
                                                              .dweights = weights,
                                                              .workspace = {}}));
  if (dynamic_) {
    const Tensor raw(nullptr, shape_.compute, {rows, weights_per_row()});
    const Tensor base(nullptr, shape_.master(), {weights_per_row()});
    const Tensor scales(nullptr, shape_.master(), {kind_ == StreamWeightKind::Hyper ? 2 : 3});
    plan.require_workspace(ops.stream_weights_backward_workspace(
        {.kind = kind_,
         .streams = streams_,
         .iterations = static_cast<int>(model_.streams.sinkhorn_iterations),
         .raw = raw,
         .base = base,
         .scales = scales,
         .dweights = weights,
         .draw = raw,
         .dbase = base,
         .dscales = scales,
         .workspace = {}}));
  }
  plan_probe(backend, plan, shape_, rows * streams_, width);
}

std::vector<Parameter*> MixedStreams::parameters() const {
  std::vector<Parameter*> list;
  for (const Site& site : sites_) {
    for (Parameter* parameter : site.parameters) list.push_back(parameter);
  }
  return list;
}

Tensor MixedStreams::as_vectors(const Tensor& streams) const {
  const std::int64_t vectors = vectors_per_token();
  return streams.reshaped({streams.rows() * vectors, streams.cols() / vectors});
}

void MixedStreams::copy_to_streams(const Context& context, const Tensor& one, const Tensor& streams) const {
  for (std::int64_t i = 0; i < streams_; ++i) {
    context.backend.elementwise().copy(context.stream, one, streams.columns(i * model_.width, model_.width));
  }
}

void MixedStreams::sum_streams(const Context& context, const Tensor& streams, const Tensor& sum) const {
  const ElementwiseOps& ops = context.backend.elementwise();
  ops.copy(context.stream, streams.columns(0, model_.width), sum);
  for (std::int64_t i = 1; i < streams_; ++i) {
    ops.add(context.stream, streams.columns(i * model_.width, model_.width), sum);
  }
}

void MixedStreams::begin(const Context& context) {
  copy_to_streams(context, embedding(context), packed(context, 0));
}

Tensor MixedStreams::weights_of(const Context& context, const Site& site) const {
  return dynamic_ ? context.tensor(site.weights) : site.base->value.reshaped({1, weights_per_row()});
}

Tensor MixedStreams::make_weights(const Context& context, const Site& site, const Tensor& x) const {
  if (!dynamic_) return weights_of(context, site);
  Tensor vectors = as_vectors(x);
  if (site.norm->present()) {
    const Tensor normed = as_vectors(context.tensor(site.normed));
    site.norm->forward(context, vectors, normed);
    vectors = normed;
  }
  const Tensor raw = context.tensor(site.raw), weights = context.tensor(site.weights);
  site.projection->forward(context, vectors, as_vectors(raw));
  context.backend.stream_mix().stream_weights(
      context.stream, {.kind = kind_,
                       .streams = streams_,
                       .iterations = static_cast<int>(model_.streams.sinkhorn_iterations),
                       .raw = raw,
                       .base = site.base->value,
                       .scales = site.scales->value,
                       .weights = weights});
  return weights;
}

void MixedStreams::weights_backward(const Context& context, const Site& site, const Tensor& x,
                                    const Tensor& dx) const {
  const Tensor draw = context.tensor(draw_);
  context.backend.stream_mix().stream_weights_backward(
      context.stream, {.kind = kind_,
                       .streams = streams_,
                       .iterations = static_cast<int>(model_.streams.sinkhorn_iterations),
                       .raw = context.tensor(site.raw),
                       .base = site.base->value,
                       .scales = site.scales->value,
                       .dweights = context.tensor(dweights_),
                       .draw = draw,
                       .dbase = site.base->gradient,
                       .dscales = site.scales->gradient,
                       .workspace = context.workspace()});
  const bool normed = site.norm->present();
  const Tensor dnormed = as_vectors(context.tensor(dnormed_));
  site.projection->backward(context, as_vectors(normed ? context.tensor(site.normed) : x), as_vectors(draw),
                            dnormed);
  if (normed) {
    site.norm->backward(context, as_vectors(x), dnormed, as_vectors(dx), /*accumulate=*/true);
  } else {
    context.backend.elementwise().add(context.stream, dnormed, as_vectors(dx));
  }
}

void MixedStreams::make_step(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Site& site = sites_[static_cast<std::size_t>(k)];
  const Tensor x = packed(context, k), input = context.tensor(site.input);
  context.backend.stream_mix().stream_read(
      context.stream, {.streams = streams_, .x = x, .weights = make_weights(context, site, x), .h = input});
  sublayer.branch_forward(context, input);
  sublayer.step_forward(context, context.tensor(site.step));
}

void MixedStreams::make_again(const Context& context, Sublayer& sublayer) { make_step(context, sublayer); }

void MixedStreams::forward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Site& site = sites_[static_cast<std::size_t>(k)];
  make_step(context, sublayer);
  context.backend.stream_mix().stream_write(context.stream, {.streams = streams_,
                                                             .x = packed(context, k),
                                                             .o = context.tensor(site.step),
                                                             .weights = weights_of(context, site),
                                                             .out = packed(context, k + 1)});
  probe_state(context, k + 1);
}

void MixedStreams::merge(const Context& context) {
  sum_streams(context, context.tensor(states_.back()), merged(context));
}

void MixedStreams::begin_backward(const Context& context) {
  copy_to_streams(context, context.tensor(merged_gradient_), context.tensor(gradient_));
}

void MixedStreams::backward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Site& site = sites_[static_cast<std::size_t>(k)];
  const Tensor x = packed(context, k), weights = weights_of(context, site);
  const Tensor gradient = context.tensor(gradient_), dstep = context.tensor(step_gradient_);
  const Tensor dinput = context.tensor(input_gradient_), input = context.tensor(site.input);
  const Tensor dweights =
      dynamic_ ? context.tensor(dweights_) : site.base->gradient.reshaped({1, weights_per_row()});
  const ElementwiseOps& elementwise = context.backend.elementwise();
  const StreamMixOps& ops = context.backend.stream_mix();
  if (dynamic_) elementwise.fill(context.stream, dweights, 0);
  ops.stream_write_backward(context.stream, {.streams = streams_,
                                             .x = x,
                                             .o = context.tensor(site.step),
                                             .weights = weights,
                                             .dout = gradient,
                                             .dx = gradient,
                                             .do_ = dstep,
                                             .dweights = dweights,
                                             .workspace = context.workspace()});
  sublayer.step_backward(context, dstep);
  elementwise.fill(context.stream, dinput, 0);
  sublayer.branch_backward(context, input, dinput);
  ops.stream_read_backward(context.stream, {.streams = streams_,
                                            .x = x,
                                            .weights = weights,
                                            .dh = dinput,
                                            .dx = gradient,
                                            .dweights = dweights,
                                            .workspace = context.workspace()});
  if (dynamic_) weights_backward(context, site, x, gradient);
  announce_gradients(context, site.parameters);
}

void MixedStreams::end_backward(const Context& context) {
  sum_streams(context, context.tensor(gradient_), context.tensor(merged_gradient_));
}

Tensor MixedStreams::state(const Context& context, std::int64_t k) const {
  const Tensor x = packed(context, k);
  return x.reshaped({x.rows() * streams_, model_.width});
}

Tensor MixedStreams::state_gradient(const Context& context) const {
  const Tensor x = context.tensor(gradient_);
  return x.reshaped({x.rows() * streams_, model_.width});
}

}  // namespace plumb

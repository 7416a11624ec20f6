#include "nn/streams/second_stream.h"

#include "core/error.h"

namespace plumb {

SecondStream::SecondStream(const StreamAdapterParts& parts)
    : model_(parts.model),
      shape_(parts.shape),
      store_(parts.store),
      reads_both_(parts.model.streams.kind == "siamese"),
      block_gradient_(static_cast<std::int64_t>(parts.model.block.size())) {}

void SecondStream::declare_sublayer(const std::string& name, const DepthPosition&) {
  if (!reads_both_) return;
  norms_.emplace_back(model_.stream_norm, model_.norm_kind, name + ".norm_stream",
                      NormExtent{.width = model_.width}, shape_, store_);
  norm_parameters_.push_back(norms_.back().parameters());
}

void SecondStream::declare_end() {
  norms_.emplace_back(model_.stream_norm, model_.norm_kind, "stream_norm",
                      NormExtent{.width = model_.width, .role = ParameterRole::FinalVector}, shape_, store_);
}

void SecondStream::attach(Sublayer& sublayer) {
  sublayer.feed_second_stream();
  block_gradient_.attach(sublayer);
}

void SecondStream::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows();
  const auto keep = [&](const std::string& name, std::int64_t count) {
    return plan.persistent(name, shape_.compute, {count, model_.width});
  };
  states_ = {plan_own_state(plan, 0)};
  merged_ = keep("stream.merged", rows);
  merged_gradient_ = keep("stream.merged_gradient", rows);
  gradient_ = keep("stream.gradient", 2 * rows);
  if (reads_both_) input_gradient_ = keep("stream.input_gradient", rows);
  block_gradient_.plan(plan, shape_, model_.width);
  norms_.back().plan(backend, plan);
  plan_probe(backend, plan, shape_, 2 * rows, model_.width);
}

Slot SecondStream::plan_own_state(ArenaPlan& plan, std::int64_t k) const {
  return plan_state(plan, k, static_cast<std::int64_t>(model_.block.size()), shape_.compute,
                    {2 * shape_.rows(), model_.width});
}

void SecondStream::plan_sublayer(Backend& backend, ArenaPlan& plan, const Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  states_.push_back(plan_own_state(plan, k + 1));
  if (!reads_both_) return;
  inputs_.push_back(
      plan.persistent(fmt::format("stream.{}.input", k), shape_.compute, {shape_.rows(), model_.width}));
  norms_[static_cast<std::size_t>(k)].plan(backend, plan);
}

std::vector<Parameter*> SecondStream::parameters() const {
  std::vector<Parameter*> list;
  for (const NormLayer& norm : norms_) {
    for (Parameter* parameter : norm.parameters()) list.push_back(parameter);
  }
  return list;
}

void SecondStream::join(const Context& context, const NormLayer& norm, const Tensor& state,
                        const Tensor& out) const {
  norm.forward(context, second(state), out);
  context.backend.elementwise().add(context.stream, first(state), out);
}

void SecondStream::join_backward(const Context& context, const NormLayer& norm, const Tensor& state,
                                 const Tensor& dout, const Tensor& gradient) const {
  context.backend.elementwise().add(context.stream, dout, first(gradient));
  norm.backward(context, second(state), dout, second(gradient), /*accumulate=*/true);
}

void SecondStream::begin(const Context& context) {
  const Tensor x0 = state(context, 0);
  context.backend.elementwise().copy(context.stream, first(x0), second(x0));
}

Tensor SecondStream::make_input(const Context& context, std::int64_t k) const {
  const Tensor now = state(context, k);
  if (!reads_both_) return first(now);
  const Tensor input = context.tensor(inputs_[static_cast<std::size_t>(k)]);
  join(context, norms_[static_cast<std::size_t>(k)], now, input);
  return input;
}

void SecondStream::make_again(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Tensor x_block = first(state(context, block_gradient_.first_of_block(sublayer)));
  sublayer.make_again(context, make_input(context, k), first(state(context, k)), x_block,
                      first(state(context, k + 1)));
}

void SecondStream::forward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Tensor now = state(context, k), next = state(context, k + 1);
  const Tensor x_block = first(state(context, block_gradient_.first_of_block(sublayer)));
  sublayer.branch_forward(context, make_input(context, k));
  sublayer.combine_forward(context, first(now), x_block, first(next));
  sublayer.accumulate_forward(context, second(now), second(next));
  probe_state(context, k + 1);
}

void SecondStream::merge(const Context& context) {
  join(context, norms_.back(), context.tensor(states_.back()), merged(context));
}

void SecondStream::begin_backward(const Context& context) {
  const Tensor gradient = context.tensor(gradient_);
  context.backend.elementwise().fill(context.stream, gradient, 0);
  join_backward(context, norms_.back(), context.tensor(states_.back()), context.tensor(merged_gradient_),
                gradient);
}

void SecondStream::backward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Tensor now = state(context, k), gradient = context.tensor(gradient_);
  const Tensor x_block = first(state(context, block_gradient_.first_of_block(sublayer)));
  sublayer.combine_backward(context, first(now), x_block, first(gradient),
                            block_gradient_.begin(context, sublayer));
  sublayer.accumulate_backward(context, second(gradient));
  if (reads_both_) {
    const NormLayer& norm = norms_[static_cast<std::size_t>(k)];
    const Tensor dinput = context.tensor(input_gradient_);
    context.backend.elementwise().fill(context.stream, dinput, 0);
    sublayer.branch_backward(context, context.tensor(inputs_[static_cast<std::size_t>(k)]), dinput);
    join_backward(context, norm, now, dinput, gradient);
    announce_gradients(context, norm_parameters_[static_cast<std::size_t>(k)]);
  } else {
    sublayer.branch_backward(context, first(now), first(gradient));
  }
  block_gradient_.end(context, sublayer, first(gradient));
}

void SecondStream::end_backward(const Context& context) {
  const Tensor gradient = context.tensor(gradient_), out = context.tensor(merged_gradient_);
  context.backend.elementwise().copy(context.stream, first(gradient), out);
  context.backend.elementwise().add(context.stream, second(gradient), out);
}

}  // namespace plumb

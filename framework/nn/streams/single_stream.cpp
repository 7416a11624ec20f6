#include "nn/streams/single_stream.h"

#include "core/error.h"

namespace plumb {

void SingleStream::plan(Backend& backend, ArenaPlan& plan) {
  states_ = {plan_own_state(plan, 0)};
  gradient_ = plan.persistent("stream.gradient", shape_.compute, {shape_.rows(), width_});
  block_gradient_.plan(plan, shape_, width_);
  plan_probe(backend, plan, shape_, shape_.rows(), width_);
}

void SingleStream::plan_sublayer(Backend&, ArenaPlan& plan, const Sublayer& sublayer) {
  states_.push_back(plan_own_state(plan, sublayer.position().sublayer + 1));
}

void SingleStream::forward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Tensor x = state(context, k), x_block = state(context, block_gradient_.first_of_block(sublayer));
  sublayer.branch_forward(context, sublayer.reads_block_input() ? x_block : x);
  sublayer.combine_forward(context, x, x_block, state(context, k + 1));
}

void SingleStream::make_again(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Tensor x = state(context, k), x_block = state(context, block_gradient_.first_of_block(sublayer));
  sublayer.make_again(context, sublayer.reads_block_input() ? x_block : x, x, x_block, state(context, k + 1));
}

void SingleStream::backward(const Context& context, Sublayer& sublayer) {
  const Tensor x = state(context, sublayer.position().sublayer);
  const Tensor x_block = state(context, block_gradient_.first_of_block(sublayer));
  const Tensor gradient = context.tensor(gradient_), dx_block = block_gradient_.begin(context, sublayer);
  sublayer.combine_backward(context, x, x_block, gradient, dx_block);
  if (sublayer.reads_block_input()) {
    sublayer.branch_backward(context, x_block, dx_block);
  } else {
    sublayer.branch_backward(context, x, gradient);
  }
  block_gradient_.end(context, sublayer, gradient);
}

}  // namespace plumb

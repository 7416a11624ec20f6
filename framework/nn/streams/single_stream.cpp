#include "nn/streams/single_stream.h"

#include "core/error.h"

namespace plumb {

void SingleStream::plan(Backend& backend, ArenaPlan& plan) {
  const auto keep = [&](const std::string& name) {
    return plan.persistent(name, shape_.compute, {shape_.rows(), width_});
  };
  for (std::int64_t k = 0; k <= sublayers_; ++k) states_.push_back(keep(fmt::format("stream.{}", k)));
  gradient_ = keep("stream.gradient");
  block_gradient_.plan(plan, shape_, width_);
  plan_probe(backend, plan, shape_, shape_.rows(), width_);
}

void SingleStream::forward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Tensor x = state(context, k), x_block = state(context, block_gradient_.first_of_block(sublayer));
  sublayer.branch_forward(context, sublayer.reads_block_input() ? x_block : x);
  sublayer.combine_forward(context, x, x_block, state(context, k + 1));
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

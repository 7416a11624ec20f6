#include "nn/streams/single_stream.h"

namespace plumb {

void SingleStream::plan(Backend& backend, ArenaPlan& plan) {
  const auto keep = [&](const std::string& name) {
    return plan.persistent(name, shape_.compute, {shape_.rows(), width_});
  };
  for (std::int64_t k = 0; k <= sublayers_; ++k) states_.push_back(keep(fmt::format("stream.{}", k)));
  gradient_ = keep("stream.gradient");
  if (needs_block_input_) block_gradient_ = keep("stream.block_gradient");
  plan_probe(backend, plan, shape_.compute, shape_.rows(), width_);
}

void SingleStream::forward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer;
  const Tensor x = state(context, k), x_block = state(context, first_of_block(sublayer));
  sublayer.branch_forward(context, sublayer.reads_block_input() ? x_block : x);
  sublayer.combine_forward(context, x, x_block, state(context, k + 1));
}

// x_block's share of the gradient is gathered in a buffer of its own from the block's last sublayer down to
// its first, before which it joins the stream's.
void SingleStream::backward(const Context& context, Sublayer& sublayer) {
  const std::int64_t k = sublayer.position().sublayer, first = first_of_block(sublayer);
  const Tensor x = state(context, k), x_block = state(context, first);
  const Tensor gradient = context.tensor(gradient_), block_gradient = context.tensor(block_gradient_);
  const ElementwiseOps& ops = context.backend.elementwise();
  if (needs_block_input_ && k == first + sublayers_per_block_ - 1)
    ops.fill(context.stream, block_gradient, 0);
  sublayer.combine_backward(context, x, x_block, gradient, block_gradient);
  if (sublayer.reads_block_input()) {
    sublayer.branch_backward(context, x_block, block_gradient);
  } else {
    sublayer.branch_backward(context, x, gradient);
  }
  if (needs_block_input_ && k == first) ops.add(context.stream, block_gradient, gradient);
}

}  // namespace plumb

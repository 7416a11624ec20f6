// BlockGradient: the share of the gradient that goes to the stream at the start of a block. It is gathered in
// a buffer of its own from the block's last sublayer down to its first, where it joins the stream's.
#pragma once

#include "nn/sublayer.h"

namespace plumb {

class BlockGradient {
 public:
  explicit BlockGradient(std::int64_t sublayers_per_block) : sublayers_per_block_(sublayers_per_block) {}

  /// Told of every sublayer before plan().
  void attach(const Sublayer& sublayer) {
    needed_ |= sublayer.has_block_skip() || sublayer.reads_block_input();
  }
  void plan(ArenaPlan& plan, const ModelShape& shape, std::int64_t width) {
    if (needed_) slot_ = plan.persistent("stream.block_gradient", shape.compute, {shape.rows(), width});
  }
  /// The first sublayer of the sublayer's block.
  std::int64_t first_of_block(const Sublayer& sublayer) const {
    return sublayer.position().block * sublayers_per_block_;
  }
  /// Before the sublayer's backward pass: the buffer, empty if no sublayer needs one.
  Tensor begin(const Context& context, const Sublayer& sublayer) const {
    const Tensor gradient = context.tensor(slot_);
    const bool last = sublayer.position().sublayer == first_of_block(sublayer) + sublayers_per_block_ - 1;
    if (needed_ && last) context.backend.elementwise().fill(context.stream, gradient, 0);
    return gradient;
  }
  /// After it, with the gradient of the stream.
  void end(const Context& context, const Sublayer& sublayer, const Tensor& stream_gradient) const {
    if (!needed_ || sublayer.position().sublayer != first_of_block(sublayer)) return;
    context.backend.elementwise().add(context.stream, context.tensor(slot_), stream_gradient);
  }

 private:
  std::int64_t sublayers_per_block_;
  bool needed_ = false;
  Slot slot_;
};

}  // namespace plumb

// SingleStream: the residual stream x of the block equation.
#pragma once

#include "nn/streams/stream_adapter.h"

namespace plumb {

class SingleStream : public StreamAdapter {
 public:
  explicit SingleStream(const StreamAdapterParts& parts)
      : shape_(parts.shape),
        width_(parts.model.width),
        sublayers_per_block_(static_cast<std::int64_t>(parts.model.block.size())),
        sublayers_(parts.model.blocks * sublayers_per_block_) {}

  void declare_sublayer(const std::string&, const DepthPosition&) override {}
  void declare_end() override {}
  void attach(Sublayer& sublayer) override {
    needs_block_input_ |= sublayer.has_block_skip() || sublayer.reads_block_input();
  }
  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override { return {}; }

  Tensor embedding(const Context& context) const override { return state(context, 0); }
  void begin(const Context&) override {}
  void forward(const Context& context, Sublayer& sublayer) override;
  void merge(const Context&) override {}
  Tensor merged(const Context& context) const override { return state(context, sublayers_); }

  Tensor merged_gradient(const Context& context) const override { return context.tensor(gradient_); }
  void begin_backward(const Context&) override {}
  void backward(const Context& context, Sublayer& sublayer) override;
  void end_backward(const Context&) override {}

  Tensor state(const Context& context, std::int64_t k) const override {
    return context.tensor(states_[static_cast<std::size_t>(k)]);
  }
  Shape state_shape() const override { return {shape_.batch, shape_.tokens, width_}; }
  Tensor state_gradient(const Context& context) const override { return context.tensor(gradient_); }

 private:
  std::int64_t first_of_block(const Sublayer& sublayer) const {
    return sublayer.position().block * sublayers_per_block_;
  }

  ModelShape shape_;
  std::int64_t width_, sublayers_per_block_, sublayers_;
  bool needs_block_input_ = false;
  std::vector<Slot> states_;
  Slot gradient_, block_gradient_;
};

}  // namespace plumb

// SingleStream: the residual stream x of the block equation.
#pragma once

#include "nn/streams/block_gradient.h"
#include "nn/streams/stream_adapter.h"

namespace plumb {

class SingleStream : public StreamAdapter {
 public:
  explicit SingleStream(const StreamAdapterParts& parts)
      : shape_(parts.shape),
        width_(parts.model.width),
        per_block_(static_cast<std::int64_t>(parts.model.block.size())),
        sublayers_(parts.model.blocks * per_block_),
        block_gradient_(per_block_) {}

  void declare_sublayer(const std::string&, const DepthPosition&) override {}
  void declare_end() override {}
  void attach(Sublayer& sublayer) override { block_gradient_.attach(sublayer); }
  void plan(Backend& backend, ArenaPlan& plan) override;
  void plan_sublayer(Backend& backend, ArenaPlan& plan, const Sublayer& sublayer) override;
  std::vector<Parameter*> parameters() const override { return {}; }

  Tensor embedding(const Context& context) const override { return state(context, 0); }
  void begin(const Context&) override {}
  void forward(const Context& context, Sublayer& sublayer) override;
  void make_again(const Context& context, Sublayer& sublayer) override;
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
  Slot plan_own_state(ArenaPlan& plan, std::int64_t k) const {
    return plan_state(plan, k, per_block_, shape_.compute, {shape_.rows(), width_});
  }
  ModelShape shape_;
  std::int64_t width_, per_block_, sublayers_;
  BlockGradient block_gradient_;
  std::vector<Slot> states_;
  Slot gradient_;
};

}  // namespace plumb

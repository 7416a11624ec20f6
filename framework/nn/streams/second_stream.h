// SecondStream: a stream X that follows the block equation, and a stream Y that only adds up branches.
#pragma once

#include "nn/streams/block_gradient.h"
#include "nn/streams/stream_adapter.h"

namespace plumb {

/// X_0 = Y_0 = x_0;  X <- the block equation with the branch F(h);  Y <- Y + b F(h);  merged X + N_stream(Y).
///   residual  h = X                 ResiDual, arXiv 2304.14802
///   siamese   h = X + N_stream(Y)   SiameseNorm, arXiv 2602.08064
/// N_stream has its own parameters at every sublayer (siamese) and at the end. The state is [X; Y], (2R, C).
class SecondStream : public StreamAdapter {
 public:
  explicit SecondStream(const StreamAdapterParts& parts);

  void declare_sublayer(const std::string& name, const DepthPosition& position) override;
  void declare_end() override;
  void attach(Sublayer& sublayer) override;
  void plan(Backend& backend, ArenaPlan& plan) override;
  void plan_sublayer(Backend& backend, ArenaPlan& plan, const Sublayer& sublayer) override;
  std::vector<Parameter*> parameters() const override;
  std::vector<Parameter*> end_parameters() const override { return norms_.back().parameters(); }

  Tensor embedding(const Context& context) const override { return first(state(context, 0)); }
  void begin(const Context& context) override;
  void forward(const Context& context, Sublayer& sublayer) override;
  void make_again(const Context& context, Sublayer& sublayer) override;
  void merge(const Context& context) override;
  Tensor merged(const Context& context) const override { return context.tensor(merged_); }

  Tensor merged_gradient(const Context& context) const override { return context.tensor(merged_gradient_); }
  void begin_backward(const Context& context) override;
  void backward(const Context& context, Sublayer& sublayer) override;
  void end_backward(const Context& context) override;

  Tensor state(const Context& context, std::int64_t k) const override {
    return context.tensor(states_[static_cast<std::size_t>(k)]);
  }
  Shape state_shape() const override { return {2, shape_.batch, shape_.tokens, model_.width}; }
  Tensor state_gradient(const Context& context) const override { return context.tensor(gradient_); }

 private:
  Slot plan_own_state(ArenaPlan& plan, std::int64_t k) const;
  /// What the branch of sublayer k reads, made from the state before it.
  Tensor make_input(const Context& context, std::int64_t k) const;
  Tensor first(const Tensor& state) const { return state.row_range(0, shape_.rows()); }
  Tensor second(const Tensor& state) const { return state.row_range(shape_.rows(), shape_.rows()); }
  /// out = X + N(Y).
  void join(const Context& context, const NormLayer& norm, const Tensor& state, const Tensor& out) const;
  /// gradient of [X; Y] (=|+=) that of X + N(Y).
  void join_backward(const Context& context, const NormLayer& norm, const Tensor& state, const Tensor& dout,
                     const Tensor& gradient) const;

  const ModelConfig& model_;
  ModelShape shape_;
  ParameterStore& store_;
  bool reads_both_;
  BlockGradient block_gradient_;
  std::vector<std::vector<Parameter*>> norm_parameters_;  ///< of norms_, for announcing
  std::vector<NormLayer> norms_;  ///< siamese: of every sublayer; then that of the end
  std::vector<Slot> states_, inputs_;
  Slot merged_, merged_gradient_, gradient_, input_gradient_;
};

}  // namespace plumb

// FeedForward: the FFN branch.
#pragma once

#include "nn/matrix.h"
#include "nn/norm_layer.h"

namespace plumb {

/// "gelu" ... -> kind; throws InputError for an unknown name.
ActivationKind activation_from_name(const std::string& name);
/// Hidden width: model.ffn_hidden, or 4 C, or for gated activations 8/3 C rounded up to a multiple of 8.
std::int64_t ffn_hidden_width(const ModelConfig& model, ActivationKind kind);

/// y = W_2 N_inner( act(W_1 u + b_1) ) + b_2; gated activations take rows [gate | up] of name.expand.weight.
class FeedForward : public Branch {
 public:
  FeedForward(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
              InitRule inner_init, InitRule projection_init, const ModelShape& shape, ParameterStore& store);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override;
  void forward(const Context& context, const Tensor& u, const Tensor& y) override;
  void backward(const Context& context, const Tensor& u, const Tensor& dy, const Tensor& du) override;

 private:
  ActivationKind kind_;
  std::int64_t hidden_;
  std::string name_;
  ModelShape shape_;
  Matrix expand_;
  NormLayer norm_inner_;
  Matrix contract_;
  Slot pre_, hidden_slot_, normed_, dhidden_;
};

}  // namespace plumb

// FeedForward: the FFN branch.
#pragma once

#include "core/error.h"
#include "nn/branch_bias.h"
#include "nn/knob.h"
#include "nn/matrix.h"
#include "nn/norm_layer.h"

namespace plumb {

/// "gelu" ... -> kind; throws InputError for an unknown name.
ActivationKind activation_from_name(const std::string& name);
/// Hidden width: model.ffn_hidden, or 4 C, or for gated activations 8/3 C rounded up to a multiple of 8.
std::int64_t ffn_hidden_width(const ModelConfig& model, ActivationKind kind);

/// How the two matrices of the FFN start.
struct FeedForwardWeights {
  WeightSpec expand, contract;
};

/// y = W_2 N_inner( act(s o (W_1 u + b_1)) ) + b_2 with the factor s = gain.ffn; gated activations take rows
/// [gate | up] of name.expand.weight.
class FeedForward : public Branch {
 public:
  FeedForward(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
              const DepthPosition& position, FeedForwardWeights weights, const ModelShape& shape,
              ParameterStore& store, StepValues& values);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override;
  void forward(const Context& context, const Tensor& u, const Tensor& y) override;
  void backward(const Context& context, const BranchInput& u, const Tensor& dy, const Tensor& du) override;
  bool reads_input_last() const override { return !recomputes_; }
  std::int64_t hidden_units() const override { return hidden_; }

 private:
  void observe_units(const Context& context) const;
  bool has_gain() const { return !gain_.is_one(); }
  /// What the activation reads; with a gain the bias is in it.
  Tensor pre_activation(const Context& context) const { return context.tensor(has_gain() ? gained_ : pre_); }
  Tensor fused_bias() const { return has_gain() ? Tensor() : expand_.bias(); }
  /// Whether the activation's backward pass makes its output again, in the place of the gradient that it
  /// reads.
  bool remakes_hidden() const {
    return shape_.remakes_passes() && !norm_inner_.present() && !bias_out_.present();
  }
  /// What W_2 reads.
  Tensor contract_input(const Context& context) const {
    return context.tensor(norm_inner_.present() ? normed_ : hidden_slot_);
  }

  ActivationKind kind_;
  bool recomputes_;     ///< what lies between u and y shares its memory with that of other branches
  bool is_made_again_;  ///< and another branch has used it since when backward comes
  std::int64_t hidden_, sublayer_;
  std::string name_;
  ModelShape shape_;
  BranchBias bias_in_, bias_hidden_, bias_out_;
  Matrix expand_;
  Knob gain_;
  NormLayer gain_norm_;  ///< no norm: the op that multiplies by the gain
  NormLayer norm_inner_;
  Matrix contract_;
  Slot biased_, pre_, gained_, hidden_slot_, normed_, dhidden_;
};

}  // namespace plumb

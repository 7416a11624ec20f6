// Attention: the attention branch with its inner norms, rotary positions and head gains.
#pragma once

#include "nn/matrix.h"
#include "nn/norm_layer.h"

namespace plumb {

/// y = W_O N_pre( gain_h * softmax(cap(q k^T scale)) v ) with q = R N_q(W_Q u), k = R N_k(W_K u), v = N_v(W_V
/// u); R the rotary rotation where positions are rotary. The rows of name.qkv.weight are [q | k | v], each
/// H*D.
class Attention : public Branch {
 public:
  Attention(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
            std::int64_t sublayer, InitRule inner_init, InitRule projection_init, const ModelShape& shape,
            ParameterStore& store);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override;
  void forward(const Context& context, const Tensor& u, const Tensor& y) override;
  void backward(const Context& context, const Tensor& u, const Tensor& dy, const Tensor& du) override;

 private:
  AttentionShape attention_shape(const Context* context) const;
  void rotate(const Context& context, const Tensor& x, bool inverse) const;
  /// q, k or v after its norm: the norm's own slot, or the columns of qkv.
  Tensor normed(const Context& context, const NormLayer& norm, Slot slot, int part) const;

  std::int64_t sublayer_, heads_, head_width_;
  bool rotary_, causal_;
  double rotary_base_, scale_, soft_cap_, dropout_;
  std::string name_;
  ModelShape shape_;
  Matrix qkv_;
  NormLayer norm_q_, norm_k_, norm_v_;
  Parameter* head_gain_ = nullptr;
  NormLayer norm_pre_projection_;
  Matrix projection_;
  Slot qkv_slot_, q_slot_, k_slot_, v_slot_, log_sum_exp_, out_slot_, gained_slot_, pre_projection_slot_;
  Slot dprojection_input_, dqkv_;
};

}  // namespace plumb

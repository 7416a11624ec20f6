// Attention: the attention branch with its inner norms and factors, rotary positions and head gains.
#pragma once

#include <optional>

#include "nn/branch_bias.h"
#include "nn/knob.h"
#include "nn/matrix.h"
#include "nn/norm_layer.h"

namespace plumb {

/// How the matrices of attention start.
struct AttentionWeights {
  WeightSpec qkv;  ///< three parts: W_Q, W_K, W_V
  WeightSpec projection;
};

/// y = W_O N_pre( gain_h * softmax(cap(q k^T scale)) v ) with q = s o R N_q(W_Q u), k = s o R N_k(W_K u),
/// v = s_v o N_v(W_V u) + s_1 o v_1; R the rotary rotation where positions are rotary, s the factor gain.qk,
/// s_v gain.value, and s_1 gain.first_value on the values v_1 of the model's first attention (value
/// residual). The rows of name.qkv.weight are [q | k | v], each H*D.
class Attention : public Branch {
 public:
  /// `first`: the model's first attention, or null for that one itself; it must outlive this one.
  Attention(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
            const DepthPosition& position, AttentionWeights weights, const Attention* first,
            const ModelShape& shape, ParameterStore& store, StepValues& values);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override;
  void forward(const Context& context, const Tensor& u, const Tensor& y) override;
  void backward(const Context& context, const BranchInput& u, const Tensor& dy, const Tensor& du) override;
  bool reads_input_last() const override { return true; }

  /// The model's first attention keeps its values for the later ones; call before plan().
  void keep_values_for_later() { serves_later_ = true; }
  bool reads_first_values() const { return first_ != nullptr && !first_value_gain_.is_zero(); }

 private:
  AttentionShape attention_shape(const Context* context) const;
  void rotate(const Context& context, const Tensor& x, bool inverse) const;
  bool gains_qk() const { return !qk_gain_.is_one(); }
  /// Whether v leaves the columns of qkv: a norm, a factor or a mixture acts on it.
  bool transforms_v() const {
    return norm_v_.present() || !value_gain_.is_one() || serves_later_ || reads_first_values();
  }
  /// Columns of q (0), k (1) or v (2) in a (R, 3 H*D) tensor.
  Tensor part(const Tensor& qkv, int index) const;
  /// Queries and keys after norm and rotation, and after the factor: what attention reads.
  Tensor rotated_queries(const Context& context) const;
  Tensor rotated_keys(const Context& context) const;
  Tensor queries(const Context& context) const;
  Tensor keys(const Context& context) const;
  /// The values before those of the first attention are mixed in, and what attention reads.
  Tensor own_values(const Context& context) const;
  Tensor values(const Context& context) const;
  void mix_values_backward(const Context& context, const Tensor& dv) const;
  void transform_inputs(const Context& context) const;
  void transform_inputs_backward(const Context& context, const Tensor& dqkv) const;
  Tensor transform_output(const Context& context, const Tensor& out) const;
  void transform_output_backward(const Context& context, const Tensor& out, const Tensor& dout) const;
  void plan_ops(Backend& backend, ArenaPlan& plan) const;

  std::int64_t sublayer_, heads_, head_width_;
  bool rotary_, causal_;
  double rotary_base_, scale_, soft_cap_, dropout_;
  std::string name_;
  ModelShape shape_;
  const Attention* first_;
  bool serves_later_ = false;
  BranchBias bias_in_;
  Matrix qkv_;
  NormLayer norm_q_, norm_k_, norm_v_;
  Knob qk_gain_, value_gain_, first_value_gain_;
  NormLayer gain_norm_;  ///< no norm: the op that multiplies by gain.qk
  Parameter* head_gain_ = nullptr;
  NormLayer norm_pre_projection_;
  Matrix projection_;
  Slot qkv_slot_, q_slot_, k_slot_, q_gained_, k_gained_, v_slot_, mixed_slot_, log_sum_exp_, out_slot_,
      gained_slot_, pre_projection_slot_;
  Slot dprojection_input_, dqkv_, dv_, dfirst_, dfirst_sum_, biased_;
};

}  // namespace plumb

// Sublayer: the block equation (docs/design/block_equation.md) around one branch.
#pragma once

#include <memory>
#include <string>

#include "nn/knob.h"
#include "nn/module.h"
#include "nn/norm_layer.h"

namespace plumb {

/// u = c N_in(x);  z = N_out(F(u));  s = a x + b z + e x_block;  x' = p N_post(s).
/// Branch dropout acts on z. Kinds of F: attention, ffn, linear.
class Sublayer : public Module {
 public:
  Sublayer(const ModelConfig& model, const SublayerConfig& config, const std::string& kind,
           const std::string& name, const DepthPosition& position, const ModelShape& shape,
           ParameterStore& store, StepValues& values);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override { return parameters_; }

  /// x, x_block (R,C) -> out (R,C); x and x_block stay as they are until backward.
  void forward(const Context& context, const Tensor& x, const Tensor& x_block, const Tensor& out);
  /// gradient (R,C): dL/dx' in, dL/dx out. dx_block (R,C) += (empty unless has_block_skip()).
  void backward(const Context& context, const Tensor& x, const Tensor& x_block, const Tensor& gradient,
                const Tensor& dx_block);

  bool has_block_skip() const { return !e_.is_zero(); }
  const std::string& name() const { return name_; }
  const std::string& kind() const { return kind_; }
  /// z of the last forward pass; kept only when ModelShape::keep_branches is set.
  Tensor branch_output(const Context& context) const { return context.tensor(z_); }

 private:
  bool needs_branch_in_backward() const;
  ResidualForward residual_forward_arguments(const Context* context) const;
  ResidualBackward residual_backward_arguments(const Context* context) const;
  void apply_branch_dropout(const Context& context, const Tensor& z) const;
  bool transforms_input() const { return norm_in_.present() || !c_.is_one(); }

  std::string kind_, name_;
  DepthPosition position_;
  ModelShape shape_;
  std::int64_t width_;
  double dropout_;
  NormLayer norm_in_;
  std::unique_ptr<Branch> branch_;
  NormLayer norm_out_, norm_post_;
  Knob a_, b_, c_, e_, p_;
  std::vector<Parameter*> parameters_;
  Slot u_, y_, z_, s_, dz_, du_;
};

}  // namespace plumb

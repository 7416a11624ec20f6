// Sublayer: the block equation (docs/design/block_equation.md) around one branch, in two halves: the branch,
// and the combination with the stream. A stream adapter (nn/streams/stream_adapter.h) says what they read and
// write.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "nn/attention.h"
#include "nn/knob.h"
#include "nn/module.h"
#include "nn/norm_layer.h"

namespace plumb {

/// u = c N_in(h);  z = N_out(F(u));  s = a x + b z + e x_block;  x' = p N_post(s).
/// Branch dropout acts on z. Kinds of F: attention, ffn, linear. h is x, or what the adapter makes of it.
class Sublayer : public Module {
 public:
  /// `first_attention`: that of the model, null while there is none.
  Sublayer(const ModelConfig& model, const SublayerConfig& config, const std::string& kind,
           const std::string& name, const DepthPosition& position, const Attention* first_attention,
           const ModelShape& shape, ParameterStore& store, StepValues& values);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override { return parameters_; }

  /// h (R,C) -> z, which stays readable until the next sublayer's pass; h stays as it is until backward.
  void branch_forward(const Context& context, const Tensor& h);
  /// Makes again what backward of the sublayer reads and no more: of what the branch reads, h. The other
  /// arguments as in combine_forward; `out` is written, as it was, where N_post is.
  void make_again(const Context& context, const Tensor& h, const Tensor& x, const Tensor& x_block,
                  const Tensor& out);
  /// x, x_block (R,C) -> out (R,C); x and x_block stay as they are until backward. x_block may be empty
  /// unless has_block_skip().
  void combine_forward(const Context& context, const Tensor& x, const Tensor& x_block, const Tensor& out);
  /// out = y + b z: what the branch adds to a second stream.
  void accumulate_forward(const Context& context, const Tensor& y, const Tensor& out);
  /// out = b z.
  void step_forward(const Context& context, const Tensor& out);

  /// gradient (R,C): dL/dx' in, the part of dL/dx that went past the branch out. dx_block (R,C) += (empty
  /// unless has_block_skip()). Sets dL/dz.
  void combine_backward(const Context& context, const Tensor& x, const Tensor& x_block,
                        const Tensor& gradient, const Tensor& dx_block);
  /// dL/dz += what comes through accumulate_forward's out.
  void accumulate_backward(const Context& context, const Tensor& dout);
  /// Sets dL/dz from dL/d(b z).
  void step_backward(const Context& context, const Tensor& dout);
  /// From dL/dz on: dL/dh is added to dh (R,C). Announces the parameters' gradients.
  void branch_backward(const Context& context, const Tensor& h, const Tensor& dh);

  bool has_block_skip() const { return !e_.is_zero(); }
  bool reads_block_input() const { return reads_block_input_; }
  /// The adapter will call accumulate_forward; before plan().
  void feed_second_stream() { feeds_second_stream_ = true; }
  Attention* attention() { return attention_; }
  /// Hidden units of an FFN; 0 of any other branch.
  std::int64_t hidden_units() const { return branch_->hidden_units(); }
  const NormLayer& norm_in() const { return norm_in_; }
  const NormLayer& norm_out() const { return norm_out_; }
  Parameter* skip_parameter() const { return a_.parameter(); }
  /// b without its factor over time, where training starts.
  double step_start() const { return b_.start(); }
  const std::string& name() const { return name_; }
  const std::string& kind() const { return kind_; }
  const DepthPosition& position() const { return position_; }
  /// z of the last branch_forward; kept beyond the next sublayer only when ModelShape::keep_branches is set.
  Tensor branch_output(const Context& context) const { return context.tensor(z_); }
  /// y of the last branch_forward, which N_out read; only where norm_out() is present.
  Tensor norm_out_input(const Context& context) const { return context.tensor(y_); }

 private:
  class Input;  ///< u, for the branch's backward pass
  bool needs_branch_in_backward() const;
  /// In a block that is made again it takes no memory of its own.
  bool remakes_input() const {
    return transforms_input() && shape_.remakes_passes() && shape_.recompute != Recompute::Block;
  }
  void run_branch(const Context& context, const Tensor& h, bool makes_output);
  void plan_residual(Backend& backend, ArenaPlan& plan) const;
  ResidualForward residual_forward_arguments(const Context* context) const;
  ResidualBackward residual_backward_arguments(const Context* context) const;
  /// Null where nothing is taken of the combine.
  const ResidualProbe* residual_probe(const Context& context) const;
  void probe_step(const Context& context) const;
  void observe_branch(const Context& context, const Tensor& z) const;
  void apply_branch_dropout(const Context& context, const Tensor& z) const;
  bool transforms_input() const { return norm_in_.present() || !c_.is_one(); }
  std::array<const Knob*, 5> knobs() const { return {&a_, &b_, &c_, &e_, &p_}; }

  std::string kind_, name_;
  DepthPosition position_;
  ModelShape shape_;
  std::int64_t width_;
  double dropout_;
  bool reads_block_input_, feeds_second_stream_ = false;
  NormLayer norm_in_;
  std::unique_ptr<Branch> branch_;
  Attention* attention_ = nullptr;  ///< the branch, if it is one
  NormLayer norm_out_, norm_post_;
  NormLayer identity_;  ///< no norm: the op that multiplies by b
  Knob a_, b_, c_, e_, p_;
  std::vector<Parameter*> parameters_;
  Slot u_, y_, z_, s_, dz_, du_, dz_second_;
};

}  // namespace plumb

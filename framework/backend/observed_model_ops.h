// The families that a model's forward and backward are made of, observed.
#pragma once

#include "backend/observed_ops.h"

namespace plumb {

class ObservedNorm final : public Observed<NormOps> {
 public:
  using Observed::Observed;
  void norm_forward(Stream& stream, const NormForward& arguments) const override {
    const ObservedOp op(observer_, "norm_forward", {&arguments.x});
    inner_.norm_forward(stream, arguments);
    tell(stream, "norm_forward", {{"y", arguments.y}, {"mean", arguments.mean}, {"rstd", arguments.rstd}});
  }
  void norm_backward(Stream& stream, const NormBackward& arguments) const override {
    const ObservedOp op(observer_, "norm_backward", {&arguments.x});
    inner_.norm_backward(stream, arguments);
    tell(stream, "norm_backward",
         {{"dx", arguments.dx},
          {"dgain", arguments.dgain},
          {"dbias", arguments.dbias},
          {"dalpha", arguments.dalpha},
          {"doffset", arguments.doffset}});
    tell(stream, "norm_backward", "dscale", arguments.dscale);
  }
  std::size_t norm_forward_workspace(const NormForward& arguments) const override {
    return inner_.norm_forward_workspace(arguments);
  }
  std::size_t norm_backward_workspace(const NormBackward& arguments) const override {
    return inner_.norm_backward_workspace(arguments);
  }
};

class ObservedResidual final : public Observed<ResidualOps> {
 public:
  using Observed::Observed;
  void residual_forward(Stream& stream, const ResidualForward& arguments) const override {
    const ObservedOp op(observer_, "residual_forward", {&arguments.x});
    inner_.residual_forward(stream, arguments);
    tell(stream, "residual_forward", {{"out", arguments.out}});
  }
  void residual_backward(Stream& stream, const ResidualBackward& arguments) const override {
    const ObservedOp op(observer_, "residual_backward", {&arguments.dout});
    inner_.residual_backward(stream, arguments);
    tell(stream, "residual_backward",
         {{"dx", arguments.dx}, {"dz", arguments.dz}, {"dx_block", arguments.dx_block}});
    tell(stream, "residual_backward", "da", arguments.da);
    tell(stream, "residual_backward", "db", arguments.db);
    tell(stream, "residual_backward", "de", arguments.de);
    tell(stream, "residual_backward", "dp", arguments.dp);
  }
  std::size_t residual_forward_workspace(const ResidualForward& arguments) const override {
    return inner_.residual_forward_workspace(arguments);
  }
  std::size_t residual_backward_workspace(const ResidualBackward& arguments) const override {
    return inner_.residual_backward_workspace(arguments);
  }
};

class ObservedLinear final : public Observed<LinearOps> {
 public:
  using Observed::Observed;
  void linear_forward(Stream& stream, const LinearForward& arguments) const override {
    const ObservedOp op(observer_, "linear_forward", {&arguments.x, &arguments.weight});
    inner_.linear_forward(stream, arguments);
    tell(stream, "linear_forward", {{"y", arguments.y}});
  }
  void linear_backward_input(Stream& stream, const LinearBackwardInput& arguments) const override {
    const ObservedOp op(observer_, "linear_backward_input", {&arguments.dy, &arguments.weight});
    inner_.linear_backward_input(stream, arguments);
    tell(stream, "linear_backward_input", {{"dx", arguments.dx}});
  }
  void linear_backward_weight(Stream& stream, const LinearBackwardWeight& arguments) const override {
    const ObservedOp op(observer_, "linear_backward_weight", {&arguments.dy, &arguments.x});
    inner_.linear_backward_weight(stream, arguments);
    tell(stream, "linear_backward_weight", {{"dweight", arguments.dweight}, {"dbias", arguments.dbias}});
  }
  std::size_t linear_forward_workspace(const LinearForward& arguments) const override {
    return inner_.linear_forward_workspace(arguments);
  }
  std::size_t linear_backward_input_workspace(const LinearBackwardInput& arguments) const override {
    return inner_.linear_backward_input_workspace(arguments);
  }
  std::size_t linear_backward_weight_workspace(const LinearBackwardWeight& arguments) const override {
    return inner_.linear_backward_weight_workspace(arguments);
  }
};

class ObservedActivation final : public Observed<ActivationOps> {
 public:
  using Observed::Observed;
  void activation_forward(Stream& stream, const ActivationForward& arguments) const override {
    const ObservedOp op(observer_, "activation_forward", {&arguments.pre});
    inner_.activation_forward(stream, arguments);
    tell(stream, "activation_forward", {{"h", arguments.h}});
  }
  void activation_backward(Stream& stream, const ActivationBackward& arguments) const override {
    const ObservedOp op(observer_, "activation_backward", {&arguments.pre});
    inner_.activation_backward(stream, arguments);
    tell(stream, "activation_backward",
         {{"dpre", arguments.dpre}, {"h", arguments.h}, {"dbias", arguments.dbias}});
  }
  std::size_t activation_backward_workspace(const ActivationBackward& arguments) const override {
    return inner_.activation_backward_workspace(arguments);
  }
};

class ObservedAttention final : public Observed<AttentionOps> {
 public:
  using Observed::Observed;
  void attention_forward(Stream& stream, const AttentionForward& arguments) const override {
    const ObservedOp op(observer_, "attention_forward", {&arguments.q, &arguments.log_sum_exp});
    inner_.attention_forward(stream, arguments);
    tell(stream, "attention_forward", {{"out", arguments.out}, {"log_sum_exp", arguments.log_sum_exp}});
  }
  void attention_backward(Stream& stream, const AttentionBackward& arguments) const override {
    const ObservedOp op(observer_, "attention_backward", {&arguments.q, &arguments.log_sum_exp});
    inner_.attention_backward(stream, arguments);
    tell(stream, "attention_backward", {{"dq", arguments.dq}, {"dk", arguments.dk}, {"dv", arguments.dv}});
  }
  void rotary(Stream& stream, const Rotary& arguments) const override {
    const ObservedOp op(observer_, "rotary", {&arguments.x});
    inner_.rotary(stream, arguments);
    tell(stream, "rotary", {{"x", arguments.x}});
  }
  void prepare_rotary(const Rotary& arguments) const override { inner_.prepare_rotary(arguments); }
  std::size_t attention_forward_workspace(const AttentionForward& arguments) const override {
    return inner_.attention_forward_workspace(arguments);
  }
  std::size_t attention_backward_workspace(const AttentionBackward& arguments) const override {
    return inner_.attention_backward_workspace(arguments);
  }
};

class ObservedEmbedding final : public Observed<EmbeddingOps> {
 public:
  using Observed::Observed;
  void embedding_forward(Stream& stream, const EmbeddingForward& arguments) const override {
    const ObservedOp op(observer_, "embedding_forward", {&arguments.out, &arguments.token_table});
    inner_.embedding_forward(stream, arguments);
    tell(stream, "embedding_forward", {{"out", arguments.out}});
  }
  void embedding_backward(Stream& stream, const EmbeddingBackward& arguments) const override {
    const ObservedOp op(observer_, "embedding_backward", {&arguments.dout, &arguments.dtoken_table});
    inner_.embedding_backward(stream, arguments);
    tell(stream, "embedding_backward",
         {{"dtoken_table", arguments.dtoken_table}, {"dposition_table", arguments.dposition_table}});
  }
  std::size_t embedding_backward_workspace(const EmbeddingBackward& arguments) const override {
    return inner_.embedding_backward_workspace(arguments);
  }
};

class ObservedHeadLoss final : public Observed<HeadLossOps> {
 public:
  using Observed::Observed;
  void head_loss_forward(Stream& stream, const HeadLossForward& arguments) const override {
    const ObservedOp op(observer_, "head_loss_forward", {&arguments.h, &arguments.weight});
    inner_.head_loss_forward(stream, arguments);
    tell(stream, "head_loss_forward", {{"log_z", arguments.log_z}, {"sums", arguments.sums}});
  }
  void head_loss_backward(Stream& stream, const HeadLossBackward& arguments) const override {
    const ObservedOp op(observer_, "head_loss_backward", {&arguments.h, &arguments.weight});
    inner_.head_loss_backward(stream, arguments);
    tell(stream, "head_loss_backward",
         {{"dh", arguments.dh}, {"dweight", arguments.dweight}, {"dbias", arguments.dbias}});
  }
  std::size_t head_loss_forward_workspace(const HeadLossForward& arguments) const override {
    return inner_.head_loss_forward_workspace(arguments);
  }
  std::size_t head_loss_backward_workspace(const HeadLossBackward& arguments) const override {
    return inner_.head_loss_backward_workspace(arguments);
  }
};

}  // namespace plumb

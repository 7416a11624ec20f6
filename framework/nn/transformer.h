// Transformer: embedding, K sublayers, final norm, head and loss.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/model_config.h"
#include "nn/module.h"
#include "nn/norm_layer.h"
#include "nn/step_values.h"
#include "nn/streams/stream_adapter.h"
#include "nn/sublayer.h"

namespace plumb {

/// Where the forward pass of the head and the loss are made.
enum class HeadForward {
  Before,       ///< by forward()
  WithBackward  ///< forward_to_head() came first; by backward(), in one op (HeadLossOps::head_loss_both)
};

/// A decoder (or, with causal = false, encoder) Transformer for one micro-batch shape on one backend.
///   x_0 = dropout( N_emb( embedding_scale tok[id] + pos[t] ) );  the streams from x_0 on, sublayer by
///   sublayer (nn/streams/stream_adapter.h), merged to x_K;
///   logits = gain o (N_final(x_K) W_head^T) + b_head;  loss as in backend/ops/head_loss.h.
/// Life: construct (declares parameters), store.allocate, plan, make the Arena, then passes.
class Transformer : public Module {
 public:
  Transformer(const ModelConfig& config, std::int64_t vocabulary, const ModelShape& shape,
              ParameterStore& store);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override;
  /// After the store was allocated: memory for the knobs that are read from the device.
  void allocate(Backend& backend) { step_values_.allocate(backend, shape_.master()); }
  std::size_t step_value_bytes() const { return step_values_.bytes(); }
  /// Uploads what depends on the optimiser step (knobs scheduled over time). Before the first forward of a
  /// step.
  void begin_step(Stream& stream, std::int64_t step) { step_values_.upload(stream, step); }

  /// ids, targets: (B*T) int32 on the device. Adds to probes->loss_sums and to every probe that is there.
  void forward(const Context& context, const Tensor& ids, const Tensor& targets);
  /// forward without its last op, for a pass that backward follows at once.
  void forward_to_head(const Context& context, const Tensor& ids);
  /// Parts of forward, for who needs one sublayer at a time: ids to state 0, and state k to state k + 1.
  void embed(const Context& context, const Tensor& ids);
  void forward_sublayer(const Context& context, std::int64_t k);
  /// After forward on the same micro-batch. Gradients of loss * targets * gradient_scale are accumulated,
  /// that is of the mean over the global batch when gradient_scale = 1 / (targets of the global batch).
  void backward(const Context& context, const Tensor& ids, const Tensor& targets, double gradient_scale,
                HeadForward forward = HeadForward::Before);

  std::int64_t sublayers() const { return static_cast<std::int64_t>(sublayers_.size()); }
  const Sublayer& sublayer(std::int64_t k) const { return *sublayers_[static_cast<std::size_t>(k)]; }
  /// Whether a branch is added to one stream, row by row (otherwise it is mixed into several).
  bool adds_to_one_stream() const { return config_.streams.kind != "hyper" && config_.streams.kind != "mhc"; }
  const ModelConfig& config() const { return config_; }
  const ModelShape& shape() const { return shape_; }
  std::int64_t vocabulary() const { return vocabulary_; }

  /// The stream before sublayer k of the last forward pass, k = 0..K (B*T, C); where there are n streams, all
  /// of them as the adapter keeps them (n*B*T, C).
  Tensor stream(const Context& context, std::int64_t k) const { return streams_->state(context, k); }
  /// What the rows of stream() are: (B,T,C), (2,B,T,C) for two streams one after the other, (B,T,n,C) for
  /// streams side by side.
  Shape stream_shape() const { return streams_->state_shape(); }
  /// N_final(x_K) (B*T, C) of the last forward pass.
  Tensor head_input(const Context& context) const;
  /// Head weight (V, C) in the compute dtype, with the gain of the logits, and its bias (V) or nothing.
  Tensor head_weight(const Context& context) const;
  Tensor head_bias() const;

 private:
  std::int64_t sublayers_per_block() const { return static_cast<std::int64_t>(config_.block.size()); }
  /// What backward reads of the block that ends with this sublayer, from the state at its start.
  void make_block_again(const Context& context, std::int64_t last);
  void embed_backward(const Context& context, const Tensor& ids);
  void embedding_dropout(const Context& context, const Tensor& x) const;
  double embedding_scale() const;
  void gain_head(const Context& context);
  Tensor plain_head() const;
  HeadLossForward head_forward_arguments(const Context& context, const Tensor& targets) const;
  void head_backward(const Context& context, const Tensor& targets, double gradient_scale,
                     HeadForward forward);
  void probe_state_gradient(const Context& context, std::int64_t k) const;
  std::vector<std::unique_ptr<Sublayer>> make_sublayers(ParameterStore& store);
  void plan_ops(Backend& backend, ArenaPlan& plan) const;

  ModelConfig config_;
  std::int64_t vocabulary_;
  ModelShape shape_;
  StepValues step_values_;
  Parameter* token_table_;
  Parameter* position_table_ = nullptr;
  NormLayer embedding_norm_;
  std::unique_ptr<StreamAdapter> streams_;
  std::vector<std::unique_ptr<Sublayer>> sublayers_;
  std::vector<std::string> sublayer_names_;
  NormLayer final_norm_;
  Knob logit_gain_;
  Parameter *head_weight_ = nullptr, *head_bias_ = nullptr;
  std::vector<Parameter*> head_parameters_, embedding_parameters_;
  Slot raw_embedding_, head_input_, log_z_, gained_head_, dgained_head_;
};

/// "blocks.3.ffn", and "blocks.3.ffn_1" for a second sublayer of the same kind in a block.
std::string sublayer_name(const ModelConfig& config, std::int64_t sublayer);

}  // namespace plumb

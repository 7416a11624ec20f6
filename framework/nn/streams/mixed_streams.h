// MixedStreams: n streams with mixing weights: hyper-connections (arXiv 2409.19606), static and dynamic, and
// mHC (arXiv 2512.24880). Formulas in backend/ops/stream_mix.h.
#pragma once

#include <memory>
#include <optional>

#include "nn/streams/stream_adapter.h"

namespace plumb {

/// All streams start as copies of the embedding and are summed at the end. The branch reads sum_i read_i X_i;
/// what it adds, b F(h), is written to stream j with weight write_j; the streams mix by mix_ij. The weights
/// are trained numbers (static), or those plus a small function of the token's own streams: hyper from every
/// stream after N_stream, mhc from all streams side by side after N_stream.
/// The state is (R, n*C) = [X_1 | ... | X_n].
class MixedStreams : public StreamAdapter {
 public:
  explicit MixedStreams(const StreamAdapterParts& parts);

  void declare_sublayer(const std::string& name, const DepthPosition& position) override;
  void declare_end() override {}
  void attach(Sublayer&) override {}
  void plan(Backend& backend, ArenaPlan& plan) override;
  void plan_sublayer(Backend& backend, ArenaPlan& plan, const Sublayer& sublayer) override;
  std::vector<Parameter*> parameters() const override;

  Tensor embedding(const Context& context) const override { return context.tensor(merged_); }
  void begin(const Context& context) override;
  void forward(const Context& context, Sublayer& sublayer) override;
  void make_again(const Context& context, Sublayer& sublayer) override;
  void merge(const Context& context) override;
  Tensor merged(const Context& context) const override { return context.tensor(merged_); }

  Tensor merged_gradient(const Context& context) const override { return context.tensor(merged_gradient_); }
  void begin_backward(const Context& context) override;
  void backward(const Context& context, Sublayer& sublayer) override;
  void end_backward(const Context& context) override;

  Tensor state(const Context& context, std::int64_t k) const override;
  Shape state_shape() const override { return {shape_.batch, shape_.tokens, streams_, model_.width}; }
  Tensor state_gradient(const Context& context) const override;

 protected:
  std::int64_t interleaved_streams() const override { return streams_; }
  Tensor interleaved_stream(const Context& context, std::int64_t k, std::int64_t i) const override {
    return packed(context, k).columns(i * model_.width, model_.width);
  }

 private:
  /// What one sublayer trains and keeps for backward.
  struct Site {
    std::string name;
    Parameter* base = nullptr;
    Parameter* scales = nullptr;  ///< dynamic
    std::optional<NormLayer> norm;
    std::optional<Matrix> projection;
    std::vector<Parameter*> parameters;  ///< all of them, for announcing
    Slot input, step, normed, raw, weights;
  };

  std::int64_t weights_per_row() const { return streams_ * (streams_ + 2); }
  /// Rows and columns of what N_stream and the projection see: a row per stream (hyper) or per token (mhc).
  std::int64_t vectors_per_token() const { return kind_ == StreamWeightKind::Hyper ? streams_ : 1; }
  Tensor as_vectors(const Tensor& streams) const;
  std::vector<double> initial_base(std::int64_t sublayer) const;
  Slot plan_own_state(ArenaPlan& plan, std::int64_t k) const;
  /// From the state before sublayer k to what its branch adds (R,C).
  void make_step(const Context& context, Sublayer& sublayer);
  void plan_ops(Backend& backend, ArenaPlan& plan) const;
  Tensor packed(const Context& context, std::int64_t k) const {
    return context.tensor(states_[static_cast<std::size_t>(k)]);
  }
  void copy_to_streams(const Context& context, const Tensor& one, const Tensor& streams) const;
  void sum_streams(const Context& context, const Tensor& streams, const Tensor& sum) const;
  Tensor make_weights(const Context& context, const Site& site, const Tensor& x) const;
  Tensor weights_of(const Context& context, const Site& site) const;
  void weights_backward(const Context& context, const Site& site, const Tensor& x, const Tensor& dx) const;

  const ModelConfig& model_;
  ModelShape shape_;
  ParameterStore& store_;
  StreamWeightKind kind_;
  bool dynamic_;
  std::int64_t streams_;
  std::vector<Site> sites_;
  std::vector<Slot> states_;
  Slot merged_, merged_gradient_, gradient_, step_gradient_, input_gradient_, dweights_, draw_, dnormed_;
};

}  // namespace plumb

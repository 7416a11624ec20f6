// StreamAdapter: what carries activations from sublayer to sublayer. One stream is the plain residual one;
// the others are placements with more (docs/design/streams.md).
#pragma once

#include <memory>
#include <string>

#include "nn/sublayer.h"

namespace plumb {

/// The state before sublayer k holds one or more streams of width C for every token. Life: declare_sublayer
/// for each sublayer before it is made, declare_end, plan, then passes.
class StreamAdapter : public Module {
 public:
  /// Declares what the adapter itself trains at a sublayer.
  virtual void declare_sublayer(const std::string& name, const DepthPosition& position) = 0;
  /// After all sublayers were made.
  virtual void declare_end() = 0;
  /// Told of every sublayer, in order, before plan().
  virtual void attach(Sublayer& sublayer) = 0;
  /// Asks for what belongs to a sublayer, the state after it included; for every sublayer in order, after
  /// plan(). States at the starts of blocks, and the last one, last.
  virtual void plan_sublayer(Backend& backend, ArenaPlan& plan, const Sublayer& sublayer) = 0;
  /// Declared at the end, for announcing; those of a sublayer are announced by backward.
  virtual std::vector<Parameter*> end_parameters() const { return {}; }

  /// Where the embedding x_0 goes, (R,C).
  virtual Tensor embedding(const Context& context) const = 0;
  /// From x_0 to the first state.
  virtual void begin(const Context& context) = 0;
  /// State k to state k + 1.
  virtual void forward(const Context& context, Sublayer& sublayer) = 0;
  /// Makes again what backward of this sublayer reads, from the state before it.
  virtual void make_again(const Context& context, Sublayer& sublayer) = 0;
  /// From the last state to what the final norm reads, (R,C), which stays as it is until backward.
  virtual void merge(const Context& context) = 0;
  virtual Tensor merged(const Context& context) const = 0;

  /// dL/d(merged) goes here, (R,C); after end_backward it holds dL/dx_0.
  virtual Tensor merged_gradient(const Context& context) const = 0;
  virtual void begin_backward(const Context& context) = 0;
  virtual void backward(const Context& context, Sublayer& sublayer) = 0;
  virtual void end_backward(const Context& context) = 0;

  /// State k = 0..K with a row of C entries per stream and token.
  virtual Tensor state(const Context& context, std::int64_t k) const = 0;
  /// What its rows are: (B,T,C), (2,B,T,C), (B,T,n,C).
  virtual Shape state_shape() const = 0;
  /// The gradient of the state that backward is at, same shape.
  virtual Tensor state_gradient(const Context& context) const = 0;
  /// Adds the moments of state k to its probe, if there is one.
  void probe_state(const Context& context, std::int64_t k) const;
  /// Adds what its probe asks for of the entries of state k.
  void observe_state(const Context& context, std::int64_t k) const;

 protected:
  /// State k: one that a block starts from outlives the blocks.
  static Slot plan_state(ArenaPlan& plan, std::int64_t k, std::int64_t sublayers_per_block, DType dtype,
                         Shape shape);
  static void plan_probe(Backend& backend, ArenaPlan& plan, const ModelShape& shape, std::int64_t rows,
                         std::int64_t width);
  /// A state in views whose rows are whole sequences, one after the other: more than one where a token's
  /// streams lie side by side.
  virtual std::int64_t interleaved_streams() const { return 1; }
  virtual Tensor interleaved_stream(const Context& context, std::int64_t k, std::int64_t) const {
    return state(context, k);
  }
};

/// What an adapter is made from; all must outlive it.
struct StreamAdapterParts {
  const ModelConfig& model;
  const ModelShape& shape;
  ParameterStore& store;
};

/// The adapter named by model.streams.kind.
std::unique_ptr<StreamAdapter> make_stream_adapter(const StreamAdapterParts& parts);

}  // namespace plumb

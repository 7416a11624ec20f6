// Module: what every part of a model offers, and the Context that one pass hands to them all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/arena.h"
#include "backend/backend.h"
#include "nn/parameter.h"
#include "nn/probes.h"

namespace plumb {

/// Told by backward, in the same order on every rank, that a parameter's gradient is final for this pass.
class GradientListener {
 public:
  virtual ~GradientListener() = default;
  virtual void gradient_ready(const Parameter& parameter) = 0;
  /// Called between ops, often: lets communication advance.
  virtual void progress() = 0;
};

/// What backward makes again, by running forward anew, instead of finding it where forward left it.
enum class Recompute {
  None,
  FeedForward,  ///< what feed-forward branches keep inside
  Block         ///< all between the states at the starts of blocks
};
/// "none", "ffn", "block"; throws InputError for another name.
Recompute recompute_from_name(const std::string& name);

/// The shape that a model is planned for. Rows = batch * tokens.
struct ModelShape {
  std::int64_t batch = 1;   ///< B sequences of one micro-batch on this rank
  std::int64_t tokens = 1;  ///< T
  DType compute = DType::Float32;
  int shards = 1;  ///< ranks that every trainable tensor of the flat buffers divides between (comm/shards.h)
  bool keep_branches = false;  ///< branch outputs z stay readable after forward (plumb dump)
  Recompute recompute = Recompute::None;
  /// Whether what one pass over kept tensors makes is made again in backward; the Engine fills in what the
  /// backend prefers (Backend::prefers_remaking).
  std::optional<bool> remakes{};

  std::int64_t rows() const { return batch * tokens; }
  DType master() const { return master_dtype(compute); }
  bool remakes_passes() const { return remakes.value_or(false); }
};

/// One forward or backward pass over one micro-batch.
struct Context {
  Backend& backend;
  Stream& stream;
  const Arena& arena;
  ModelShape shape;
  std::uint64_t seed = 0;
  Tensor counters;        ///< (2) int64 on the device: optimiser step, first global sequence (ops/random.h)
  Tensor loss_scale;      ///< (1) float64 on the device: what backward multiplies gradients by; empty = 1
  bool training = false;  ///< dropout and stochastic depth are on
  bool again = false;     ///< what has been computed is made again for backward: the same bits, no statistics
  bool overwrites_gradients = false;  ///< of the parameters that can be (Parameter::overwritten)
  const Probes* probes = nullptr;
  GradientListener* listener = nullptr;

  Tensor tensor(Slot slot) const { return arena.tensor(slot); }
  Workspace workspace() const { return arena.workspace(); }
  /// The pass in which backward makes activations again.
  Context made_again() const {
    Context context = *this;
    context.again = true;
    context.probes = nullptr;
    return context;
  }
};

/// Declares its parameters in the constructor, its memory in plan(), and then runs.
class Module {
 public:
  virtual ~Module() = default;
  /// Asks for every slot and for the workspace of every op that forward and backward will call.
  virtual void plan(Backend& backend, ArenaPlan& plan) = 0;
  /// Its own parameters and those of its parts, in the order of declaration.
  virtual std::vector<Parameter*> parameters() const = 0;
};

/// What profilers call the passes that backward makes again.
inline constexpr const char* kRecomputeRange = "recompute";

/// Tells the listener, if there is one, that these gradients are final.
void announce_gradients(const Context& context, const std::vector<Parameter*>& parameters);

/// What a branch read in forward, for its backward pass.
class BranchInput {
 public:
  virtual ~BranchInput() = default;
  /// u (R,C) as it was; it may be made now, in memory that Branch::reads_input_last allows.
  virtual Tensor read(const Context& context) const = 0;
};

/// The branch F of a sublayer: y = F(u).
class Branch : public Module {
 public:
  /// u (R,C) -> y (R,C). y may be empty in a pass that is made again: then only what backward reads inside
  /// the branch is.
  virtual void forward(const Context& context, const Tensor& u, const Tensor& y) = 0;
  /// dy (R,C) -> du (R,C), overwritten; parameter gradients are accumulated (those of matrices
  /// written, where the Context says so). dy stays as it is, unless du lies in its place.
  virtual void backward(const Context& context, const BranchInput& u, const Tensor& dy, const Tensor& du) = 0;
  /// Whether u, y, dy and du may share their bytes: forward writes y when it has read u for the last time,
  /// and backward asks for u when it has read dy, and writes du when it has read u.
  virtual bool reads_input_last() const { return false; }
  /// Units that an activation function makes; 0 where there is none.
  virtual std::int64_t hidden_units() const { return 0; }
};

}  // namespace plumb

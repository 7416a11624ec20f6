// Optimizer: one update of all parameters from reduced gradients, with what the statistics need of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "comm/shards.h"
#include "core/error.h"
#include "nn/parameter.h"

namespace plumb {

enum class OptimizerKind { AdamW, SgdMomentum };

/// "adamw", "sgd"; anything else is an InputError that lists them.
OptimizerKind optimizer_kind_from_name(const std::string& name);

/// Factors on what the settings give, for one kind of parameter.
struct OptimizerFactors {
  double learning_rate = 1, epsilon = 1, weight_decay = 1;
  bool operator==(const OptimizerFactors&) const = default;
};

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::AdamW;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;  ///< AdamW
  double momentum = 0.9;                             ///< SGD
  double weight_decay = 0.1;  ///< decoupled; only for parameters whose weight_decay flag is set
  double clip_norm = 1;       ///< largest global gradient norm; 0 = no clipping
  GuardRules guard{};         ///< what is done about steps that stand out
  /// A gradient norm that is not finite skips all steps until resume_updates().
  bool halts = false;
  /// Dynamic loss scaling for fp16; without it the scale is 1 for good.
  bool scales_loss = false;
  double initial_loss_scale = 65536;
  std::int64_t loss_scale_interval = 2000;
  OptimizerFactors hidden_matrix{}, hidden_vector{};  ///< of parameters inside blocks (optim/depth_scaling.h)
};

/// A part of the optimiser's state under the name that checkpoints use; a view into device memory.
struct OptimizerStateTensor {
  std::string name;        ///< "momentum/<parameter>", "variance/<parameter>", "loss_scale", "guard"
  Tensor tensor;           ///< the parameter's shape, master dtype; of the others (n) float64
  bool required = true;    ///< false: a checkpoint without it is one of a run that had no such state
  bool sharded = false;    ///< the tensor has (n) elements of the whole, those that this rank owns
  Shape whole{};           ///< of all of it
  std::int64_t begin = 0;  ///< of the tensor, in elements from the start of the whole
};

/// Momentum or variance of all that this rank owns.
struct OptimizerStateShard {
  std::string prefix;  ///< "momentum/", "variance/"
  Tensor elements;     ///< compact (comm/shards.h)
};

/// How ranks share the optimiser (ZeRO-1, arXiv 1910.02054, section 5.1).
struct ShardedUpdate {
  const Shards* shards = nullptr;        ///< null: every rank has all of it
  Communicator* communicator = nullptr;  ///< over the backend's memory
};

/// The loss that the guard judges.
struct StepLoss {
  Tensor sums;         ///< (n) float64 on the device, of n parts of the batch; empty: it is not judged
  double targets = 1;  ///< of all of it
};

/// What of the results below a step leaves.
enum class UpdateResults {
  ClippingOnly,  ///< step scalars and gradient squares
  All
};

/// Owns momentum and variance (flat, laid out as the parameters are; sharded: of this rank's part alone), the
/// step scalars and the per-tensor sums of squares. All memory is taken by the constructor.
class Optimizer {
 public:
  /// Steps whose scalars may be under way on the stream at the same time.
  static constexpr std::size_t kStepsInFlight = 8;

  /// The store must be allocated and, like the backend, outlive the optimiser. State starts at zero. Sharded:
  /// so must shards and communicator, and every rank makes the same calls.
  Optimizer(const OptimizerSettings& settings, const ParameterStore& parameters, Backend& backend,
            const ShardedUpdate& sharded = {});
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update from the reduced gradients: sums of squares, clipping by the global norm, update, and then
  /// unit vectors again for the matrices on the sphere (the statistics are those of the update itself).
  /// Neither allocates nor waits: clip factor and skip factor are decided on the device, alike on all ranks
  /// because all hold the same gradients. A gradient norm that is not finite leaves parameters and state as
  /// they are. step_index is counted from 0; Adam's bias corrections are 1 - beta^(step_index + 1), whether
  /// or not earlier steps were skipped, so that they depend on nothing but the step. Sharded: only the own
  /// part of the gradients need be reduced; sums of squares are added over ranks, the own part of the
  /// parameters is updated, and the ranks exchange what they have updated.
  void step(Stream& stream, std::int64_t step_index, double learning_rate) {
    begin_step(stream, step_index, learning_rate);
    update(stream);
  }
  /// The two parts of step(): what comes from the host, and what is the same in every step (so that it can be
  /// recorded and replayed).
  void begin_step(Stream& stream, std::int64_t step_index, double learning_rate);
  void update(Stream& stream, UpdateResults results = UpdateResults::All, const StepLoss& loss = {});
  /// After a step whose gradient norm was not finite, where settings.halts.
  void resume_updates(Stream& stream);

  /// (1) float64 on the device: what the gradients must be multiplied by.
  Tensor loss_scale() const;

  // Results of the last step(), on the device, float64. P = trainable tensors, in the order of
  // ParameterStore::trainable().
  Tensor step_scalars() const { return step_scalars_; }            ///< (kStepScalars), see ops/optimizer.h
  Tensor gradient_squares() const { return gradient_squares_; }    ///< (P) of reduced gradients, not clipped
  Tensor update_squares() const { return update_squares_; }        ///< (P) sum (new - old)^2
  Tensor parameter_squares() const { return parameter_squares_; }  ///< (P) sum old^2
  // Of AdamW (UpdateStatistics in ops/optimizer.h); empty of other kinds.
  Tensor lag_squares() const { return lag_squares_; }      ///< (P)
  Tensor eps_dominated() const { return eps_dominated_; }  ///< (P)

  /// Everything that a checkpoint must hold of the optimiser, in flat order.
  std::vector<OptimizerStateTensor> state_tensors() const;
  /// Null: all of it is on every rank.
  const Shards* shards() const { return sharded_.shards; }
  /// What of the state is sharded, by kind in the order of state_tensors(); none: shards() is null.
  std::vector<OptimizerStateShard> state_shards() const;
  const OptimizerSettings& settings() const { return settings_; }
  /// Device memory taken.
  std::size_t bytes() const {
    return momentum_.bytes() + variance_.bytes() + statistics_.bytes() + workspace_.bytes();
  }

 private:
  void add_tensor(const Parameter& parameter);
  void guard(Stream& stream, const StepLoss& loss);
  void update_parameters(Stream& stream, UpdateResults results);
  void exchange(Stream& stream, UpdateResults results);
  std::vector<OptimizerStateTensor> states_of(const char* prefix, Tensor UpdateTensor::*state) const;

  OptimizerSettings settings_;
  Backend& backend_;
  ShardedUpdate sharded_;
  Tensor flat_value_, flat_compute_;
  Buffer momentum_, variance_, statistics_, workspace_;
  Tensor step_scalars_, gradient_squares_, update_squares_, parameter_squares_, lag_squares_, eps_dominated_;
  Tensor guard_state_, tensor_factors_;  ///< empty where the guard does not act on them
  Tensor update_sums_;                   ///< the results of the update, which lie one behind the other
  std::vector<std::string> names_;
  std::vector<Shape> shapes_;
  std::vector<Tensor> gradients_;      ///< sharded: of each tensor the own part, which may be empty
  std::vector<UpdateTensor> updates_;  ///< the same
  std::vector<std::string> bucket_names_;
  std::vector<Communicator::Request> exchanges_;  ///< of each bucket
  std::vector<SphereWeight> spheres_;
  /// Host side of the uploads: learning rate and both bias corrections. A row is reused only after
  /// kStepsInFlight steps, because an upload reads it in stream order. Behind the rows lies a 0.
  Buffer host_scalars_;  ///< (kStepsInFlight, 3), (1)
};

}  // namespace plumb

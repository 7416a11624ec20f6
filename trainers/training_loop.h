// TrainingLoop: the one loop of Plumb. docs/design/step.md walks through it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/gradient_reducer.h"
#include "comm/shards.h"
#include "config/batch.h"
#include "config/load.h"
#include "console.h"
#include "data/sampler.h"
#include "evaluator.h"
#include "lm_task.h"
#include "nn/engine.h"
#include "optim/learning_rate.h"
#include "optim/optimizer.h"
#include "rank_alarms.h"
#include "run_queue_delay.h"
#include "run_trace.h"
#include "session.h"
#include "sharpness.h"
#include "spike_guard.h"
#include "stability/replica_hashes.h"
#include "stability/run_log.h"
#include "stability/step_statistics.h"
#include "step_parts.h"
#include "theory/bound_watch.h"

namespace plumb {

/// How a run ended.
struct TrainingOutcome {
  std::int64_t steps = 0;                       ///< optimiser steps done in all
  std::optional<Evaluator::Result> validation;  ///< of the last validation
  double seconds = 0;                           ///< of this process, validation and checkpoints included
  int signal = 0;                               ///< the signal that ended it early, or 0
  std::string failure;                          ///< why it could not go on, one line; empty: it could
};

class TrainingLoop {
 public:
  /// Allocates everything; the references must outlive the loop.
  TrainingLoop(Session& session, const LoadedConfig& loaded, const BatchShare& batch_share,
               const LanguageModelTask& task, Backend& backend, DType compute);

  /// Draws the initial parameters; or takes parameters, optimiser state, statistics' state, step and data
  /// cursor from a checkpoint.
  void start();
  void resume(const Checkpoint& checkpoint);

  /// Steps from here on are in this trace, which must outlive them.
  void trace_with(RunTrace& trace);

  /// One optimiser step with a sampled record (log.stability_every = 1), without logs, validation and
  /// checkpoints. The record lives until the next call. A collective.
  StepRecord& single_step();

  /// Optimiser steps done so far.
  std::int64_t step() const { return step_; }
  Engine& engine() { return engine_; }
  /// All device memory of this run, by what it is for.
  std::vector<MemoryShare> memory_plan() const;
  /// Host memory that saving a checkpoint takes on rank 0 meanwhile.
  std::size_t checkpoint_bytes() const;
  const GradientReducer& reducer() const { return reducer_; }
  /// What the run log must know to write this run's records.
  RunLogSettings log_settings() const;

  /// Trains to config.training.steps, or until a signal asks to stop. `log` is null on ranks other than 0;
  /// `folder` is the run's. A collective.
  TrainingOutcome run(RunLog* log, const std::filesystem::path& folder);

 private:
  /// Hands finished gradients of the last micro-batch to the reducer.
  class ReducerListener final : public GradientListener {
   public:
    explicit ReducerListener(GradientReducer& reducer) : reducer_(reducer) {}
    void gradient_ready(const Parameter& parameter) override { reducer_.mark_ready(parameter.index); }
    void progress() override { reducer_.progress(); }

   private:
    GradientReducer& reducer_;
  };

  std::vector<std::string> tensor_names() const;
  std::vector<std::string> norm_names() const;
  std::vector<std::string> sublayer_names() const;
  Communicator& tensor_communicator() const {
    return device_communicator_ ? *device_communicator_ : session_.communicator();
  }
  GradientLayout gradient_layout() const;
  std::optional<Shards> shards() const;
  GradientWire gradient_wire();
  GradientReducer::BeforeReduce before_reduce();
  void take_local_gradient_squares(const Bucket& bucket);
  void reduce(double gradient_scale);
  void update();
  /// The last micro-batch of a step, and the update.
  void finish_gradients_and_update(double gradient_scale, Cadence cadence);
  /// Reads the hashes of what all ranks should hold alike, where they are due.
  void compare_replicas(std::int64_t step);
  /// What is taken of the step that is the `step`-th, counted from 1.
  Cadence cadence_of(std::int64_t step) const;
  /// Issues a step. It waits for no result of it; from the third micro-batch on, for a free staging buffer.
  void issue_step();
  void begin_step_clock();
  /// Waits for the oldest issued step. The record lives until the next call.
  StepRecord& finish_step();
  StepRecord& take_record();
  /// Waits for all issued steps, which count for nothing.
  void discard_steps();
  /// Rules about single ranks, for the step that has finished. A collective.
  void watch_ranks(const StepRecord& record);
  void check_loss_scale(const StepRecord& record) const;
  /// The loss as the guard on the device judges it; nothing where it does not. A collective.
  StepLoss step_loss();
  /// (kHeadLossSums) float64 for the loss of a pass that belongs to no step.
  Tensor extra_pass_sums() const;
  /// Judges a finished step. True: the run has gone back to a checkpoint, and the record is gone.
  bool goes_back(StepRecord& record, RunLog* log);
  /// The same of a step whose loss or gradient norm is not finite, as the configuration says. True also where
  /// the run ends.
  bool meets_non_finite(const StepRecord& record, RunLog* log);
  /// Collective: to the last checkpoint, and on with the data from `data_cursor`. Ends the run when that was
  /// done too often.
  void roll_back(std::int64_t step, std::uint64_t data_cursor, const std::string& reason, RunLog* log);
  /// Makes sure that there is a checkpoint to go back to.
  void save_start(RunLog* log);
  /// Collective: sharpness of the batch of the step that has just been finished, into its record.
  void measure_sharpness(StepRecord& record);
  bool has_exact_gradients() const;
  double loss_of_batch(std::uint64_t cursor);
  void gradient_of_batch(std::uint64_t cursor);
  void validate(StepRecord* record);
  void save(RunLog* log);
  void report(const StepRecord& record, RunLog* log);
  void end_run(bool stopped, RunLog* log);
  bool due(std::int64_t every) const { return every > 0 && step_ % every == 0; }

  Session& session_;
  const LoadedConfig& loaded_;
  const Config& config_;
  const LanguageModelTask& task_;
  Engine engine_;
  Sampler sampler_;
  Batch batch_;
  Buffer wire_;  ///< gradients in the dtype in which they cross ranks; empty: in their own
  std::unique_ptr<Communicator> device_communicator_;  ///< null: the session's serves
  std::optional<Shards> shards_;                       ///< none: every rank makes the whole update
  Optimizer optimizer_;
  StepStatistics statistics_;
  std::vector<Tensor> gradients_;  ///< (P) of every trainable tensor, flat order
  Buffer gradient_workspace_;      ///< for their sums of squares; empty with one rank
  GradientReducer reducer_;
  ReducerListener listener_;
  LearningRate learning_rate_;
  std::unique_ptr<Evaluator> evaluator_;
  BoundWatch bound_watch_;
  std::vector<BoundViolation> bound_violations_;  ///< of the finished step
  RankAlarms rank_alarms_;
  std::unique_ptr<RunQueueDelay> run_queue_delay_;  ///< null: with one rank, or without alarms about ranks
  std::unique_ptr<ReplicaHashes> replica_hashes_;   ///< null: with one rank, or where none are asked for
  SpikeGuard spike_guard_;
  Buffer rank_losses_;  ///< (world) float64, summed cross-entropy of every rank, where the device judges it
  std::unique_ptr<Sharpness> sharpness_;  ///< null: it is not measured
  Buffer extra_pass_sums_;  ///< (kHeadLossSums) float64, of passes beside those of the steps; empty: none
  Console console_;
  std::filesystem::path folder_;

  StepParts parts_;
  RunTrace* trace_ = nullptr;  ///< null: none
  std::int64_t step_ = 0;      ///< optimiser steps issued
  int steps_in_flight_ = 0;    ///< of them, not yet finished
  std::chrono::steady_clock::time_point step_started_;
  std::uint64_t data_cursor_ = 0;  ///< sequences used
  double smoothed_step_seconds_ = 0;
  std::optional<std::int64_t> saved_step_;
  std::int64_t non_finite_reports_ = 0;
  std::int64_t roll_backs_ = 0;  ///< to the last checkpoint that the schedule asked for
  TrainingOutcome outcome_;
};

}  // namespace plumb

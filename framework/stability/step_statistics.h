// StepStatistics: the memory behind the probes of a step, and the one place where statistics cross ranks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "stability/accumulators.h"
#include "stability/gradient_noise.h"
#include "stability/statistics_layout.h"
#include "stability/statistics_settings.h"
#include "stability/step_record.h"
#include "stability/step_sources.h"

namespace plumb {

/// What the trainer knows of a step only once it is over.
struct StepTimes {
  double step_seconds = 0;       ///< of this rank
  double wait_seconds = 0;       ///< of it, waiting for the gradients of other ranks
  double preempted_seconds = 0;  ///< of the rest, ready to run and without a core
  bool stop_requested = false;   ///< this rank was asked to save and end
};

/// What the trainer knows of the step that ends.
struct StepInputs {
  std::int64_t step = 0;         ///< updates done, this one included
  std::int64_t tokens = 0;       ///< since the start, all ranks
  std::int64_t step_tokens = 0;  ///< of this step, all ranks
  std::int64_t sequences = 0;    ///< of this step and this rank
  std::int64_t data_cursor = 0;
  // Optimizer's results of this step, device, float64.
  Tensor step_scalars;                                                 ///< (kStepScalars)
  Tensor reduced_gradient_squares, update_squares, parameter_squares;  ///< (P) each
  Tensor lag_squares{}, eps_dominated{};  ///< (P) each; empty: the optimiser has no second moment
  /// (P) what gradient_squares_local would hold, where something else holds it: with one rank, whose
  /// gradients are those of all, the optimiser. Empty: gradient_squares_local does.
  Tensor local_gradient_squares{};
};

/// A part of the state that checkpoints hold, in host memory.
struct StatisticsStateTensor {
  std::string name;  ///< "column_shift", "interval_min", "interval_max", "interval_overflows", "noise_scales"
  Tensor tensor;
};

/// Per step: begin_step; forward and backward with probes(); gradient_squares_local filled before reduction,
/// or given with the rest of what read_step takes, which waits for nothing; finish_step, at once or after the
/// next step was issued, so that the host need never wait for a step to begin the next. No allocation after
/// construction.
///
/// Collectives: a sampled step takes one all-reduce (sum, float64) of what is exact as a sum and one
/// all-gather of one row per rank; any other step one all-gather of a short row (statistics_layout.h).
/// Everything else is computed from these by every rank in rank order, so all ranks hold the same record.
///
/// Column sums are taken about the global column mean of the last sampled step that was finished when the
/// step began (0 until there is one), which all ranks hold alike, so that the data-wise variance of features
/// with a large mean does not cancel.
class StepStatistics {
 public:
  /// Backend and communicator must outlive it.
  StepStatistics(const StatisticsShape& shape, const StatisticsSettings& settings, Backend& backend,
                 Communicator& communicator);
  StepStatistics(const StepStatistics&) = delete;
  StepStatistics& operator=(const StepStatistics&) = delete;

  /// Makes the accumulators ready.
  void begin_step(Stream& stream, Cadence cadence);
  /// Views for the step that begin_step opened.
  const Probes& probes() const { return accumulators_.probes(cadence_); }
  /// (P) float64: sum of squares of each of this rank's gradient tensors before reduction (scaled by
  /// 1 / targets of the global batch, as the buffer is). The trainer fills all of it in every step, or gives
  /// StepInputs::local_gradient_squares.
  Tensor gradient_squares_local() const { return accumulators_.part(kTensorsPart); }

  /// Starts to copy the step's results to the host, in stream order. At most kStepsInFlight steps may be read
  /// and not finished.
  void read_step(Stream& stream, const StepInputs& inputs);
  /// Waits until the oldest step that was read is over on this rank's device: only then is its time known.
  void wait_for_step();
  /// Waits for the oldest step that was read, meets the other ranks and fills the record, which lives until
  /// the next call. The caller may add to it (validation).
  StepRecord& finish_step(Stream& stream, const StepTimes& times);
  /// Waits for the oldest step that was read and forgets it: it counts for nothing in any statistic. Returns
  /// which step it was. No collective, but all ranks do it or none.
  std::int64_t discard_step();
  static constexpr std::size_t kStepsInFlight = 2;
  /// What the record of the last finish_step was made of, until the next call.
  const StepSources& sources() const { return sources_; }

  /// Device memory taken.
  std::size_t bytes() const { return accumulators_.bytes(); }
  /// What its records look like.
  const std::shared_ptr<const RecordLayout>& record_layout() const { return record_.layout; }

  /// Collective, before a checkpoint: makes the state the same on all ranks.
  void unify_state();
  /// What a resumed run needs to log the same bits. Views stay valid; write them, then state_restored().
  std::vector<StatisticsStateTensor> state_tensors();
  void state_restored(Stream& stream);

 private:
  double* part(PartName name) { return &host_[static_cast<std::size_t>(layout_.part(name).device)]; }
  const double* moments_of(std::int64_t probe);
  void take_read(std::size_t slot);
  void remove_loss_scale();
  void track_extremes();
  void pack_row(const StepInputs& inputs, const StepTimes& times);
  void pack_sums();
  void mark_live_units();
  void pack_parts(Exchange exchange, std::vector<double>& message);
  void exchange();
  void fill_scalars(const StepInputs& inputs);
  void update_noise_scales();
  void fill_fields();
  void advance_shift(Stream& stream);
  void upload_shift(Stream& stream);
  void reset_extremes();
  void keep_overflows_once();

  /// Host memory that a step's results are copied to, and what else is known of it.
  struct Read {
    Buffer memory;  ///< accumulators | optimiser scalars | optimiser results, as the members below
    std::unique_ptr<Event> done;
    StepInputs inputs;
    std::vector<double> shift;  ///< (2K+1, C) what the step's column sums are about; only of a sampled one
    Cadence cadence = Cadence::EveryStep;
  };

  StatisticsShape shape_;
  StatisticsLayout layout_;
  Backend& backend_;
  Communicator& communicator_;
  Accumulators accumulators_;
  Cadence cadence_ = Cadence::EveryStep;    ///< of the step that begin_step opened
  Cadence finishing_ = Cadence::EveryStep;  ///< of the step that finish_step is about
  std::array<Read, kStepsInFlight> reads_;
  std::size_t steps_read_ = 0, steps_finished_ = 0;
  std::array<Buffer, 2> staged_shift_;  ///< host side of uploads of the shift, in turn
  std::size_t next_shift_ = 0;
  std::vector<double> host_;               ///< the accumulators
  std::vector<double> optimizer_scalars_;  ///< (kStepScalars)
  std::vector<double> optimizer_results_;  ///< (kOptimizerLists, P)
  std::vector<double> sums_;               ///< all-reduced
  std::vector<double> row_, rows_;         ///< (row), (world, row): all-gathered
  std::vector<double> shift_;              ///< (2K+1, C) of the step that begins next
  std::vector<double> step_shift_;         ///< of the step that finish_step is about
  std::vector<double> targets_factors_;    ///< (world) targets of all ranks / those of the rank
  std::vector<double> overflows_;          ///< (2K+1) of this rank since the last sampled step
  std::vector<double> minima_, maxima_;    ///< (2K+1, kTrackedValues), since the last sampled step
  NoiseScales noise_scales_;               ///< of the whole gradient, then (P)
  StepRecord record_;
  StepSources sources_;
};

}  // namespace plumb

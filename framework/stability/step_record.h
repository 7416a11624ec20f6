// StepRecord: what is known of one optimiser step, alike on every rank; what the run log writes. Every field
// is defined in metrics_reference.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace plumb {

/// K sublayers of width C; P trainable tensors.
struct StatisticsShape {
  std::int64_t sublayers = 0;
  std::int64_t width = 0;
  std::int64_t tensors = 0;
};

/// Statistics of the stream (K+1 entries: before sublayer k, last one after all) or of the branches (K).
struct ProfileStatistics {
  // Of this step, over all rows of all ranks.
  std::vector<double> mean_abs, entry_variance, data_variance, max_abs, rms, max_row_norm;
  std::vector<double> gradient_norm;  ///< Frobenius norm of dL/dx over all rows of all ranks
  std::vector<double> overflows;      ///< entries that fp16 cannot hold, in all steps since the record before
  /// Smallest and largest value that any rank had on its own rows in any step since the record before.
  struct Extremes {
    std::vector<double> mean_abs, entry_variance, max_abs;
  };
  Extremes interval_min, interval_max;
};

/// Per trainable tensor (P), in the order of ParameterStore::trainable().
struct TensorStatistics {
  std::vector<double> gradient_norm;   ///< after reduction, before clipping
  std::vector<double> parameter_norm;  ///< before the update
  std::vector<double> update_ratio;    ///< |update| / |parameter|; NaN where the parameter is 0
  /// Of the norm before reduction, over ranks; empty when there is one rank. std is the population's.
  std::vector<double> local_min, local_mean, local_max, local_std;
  std::vector<std::int32_t> local_argmax_rank;
};

struct StepRecord {
  std::int64_t step = 0;         ///< updates done, this one included: the first step is 1
  std::int64_t tokens = 0;       ///< used since the start of training, all ranks
  std::int64_t data_cursor = 0;  ///< sequences used since the start, all ranks
  int world = 1;

  double loss = 0;  ///< nats per target over all ranks, without z-loss
  double learning_rate = 0;
  double gradient_norm = 0;  ///< global norm after reduction, before clipping
  double clip_coefficient = 0;
  double loss_scale = 1;       ///< of this step's gradients; 1 but for fp16
  double next_loss_scale = 1;  ///< not logged: the next record has it
  bool skipped = false;        ///< the gradient norm was not finite: nothing was updated
  double log_z_mean = 0, log_z_mean_square = 0;
  double max_logit = 0;
  double max_abs = 0;       ///< largest |x| of all streams and branches
  double overflows = 0;     ///< their entries that fp16 cannot hold
  double step_seconds = 0;  ///< of the slowest rank
  double tokens_per_second = 0;
  bool stop_requested = false;  ///< some rank was asked to save and end; not logged
  /// Set by the trainer at validation steps, before the record is logged.
  std::optional<double> validation_loss, validation_bits_per_byte;

  /// Per rank (world).
  std::vector<double> rank_loss, rank_gradient_norm, rank_step_seconds, rank_wait_seconds;

  /// Whether the fields below are of this step.
  bool sampled = false;
  ProfileStatistics stream, branch;
  TensorStatistics tensors;
};

/// A record whose vectors have their final sizes; copying one such record over another does not allocate.
StepRecord make_step_record(const StatisticsShape& shape, int world);

}  // namespace plumb

// StepRecord: what is known of one optimiser step, alike on every rank; what the run log writes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "stability/record_layout.h"

namespace plumb {

/// What the training loop itself reads of a step.
struct StepScalars {
  std::int64_t step = 0;         ///< updates done, this one included: the first step is 1
  std::int64_t tokens = 0;       ///< used since the start of training, all ranks
  std::int64_t data_cursor = 0;  ///< sequences used since the start, all ranks
  double loss = 0;               ///< nats per target over all ranks, without z-loss
  double learning_rate = 0;
  double gradient_norm = 0;  ///< global norm after reduction, before clipping
  double clip_coefficient = 0;
  double loss_scale = 1;       ///< of this step's gradients; 1 but for fp16
  double next_loss_scale = 1;  ///< not logged: the next record has it
  bool skipped = false;        ///< nothing was updated: the gradient norm was not finite, or see `spikes`
  int spikes = 0;              ///< kLossSpike + kNormSpike, for which the step was skipped; not logged
  double clipped_tensors = 0;  ///< logged only with spikes.tensor_clip
  double step_seconds = 0;     ///< of the slowest rank
  double tokens_per_second = 0;
  bool stop_requested = false;  ///< some rank was asked to save and end; not logged
};

struct StepRecord : StepScalars {
  /// Whether the fields of stability.jsonl are of this step.
  bool sampled = false;
  /// Of every field of the layout; kAbsent where there is none.
  std::vector<double> values;
  std::shared_ptr<const RecordLayout> layout;

  std::span<const double> of(const RecordField& field) const {
    return std::span(values).subspan(static_cast<std::size_t>(field.place),
                                     static_cast<std::size_t>(field.count));
  }
  /// Throws Error where records of this run have no such field.
  std::span<const double> of(std::string_view file, std::string_view path) const;
  /// A number of metrics.jsonl that is the trainer's to set, before the record is logged.
  void set(std::string_view path, double value);
  /// A list of stability.jsonl that is the trainer's to fill, before the record is logged.
  std::span<double> list(std::string_view path);
};

/// A record with all values absent; copying one such record over another does not allocate.
StepRecord make_step_record(std::shared_ptr<const RecordLayout> layout);

}  // namespace plumb

// How much a run will write to its log, before it runs.
#pragma once

#include <memory>

#include "config/config.h"
#include "stability/record_layout.h"

namespace plumb {

/// Bytes of a step, as a mean over the steps between two detailed records.
struct LogBytes {
  double metrics = 0;    ///< metrics.jsonl, a line in every step
  double stability = 0;  ///< stability.jsonl, at the cadence of log.stability_every
  double ranks = 0;      ///< ranks.jsonl, at that of log.ranks_every

  double sum() const { return metrics + stability + ranks; }
};

/// Of records in which every field of the layout is there and every number has the 17 digits that most have;
/// a run leaves out what does not exist in a step (validation, say). Without events and TensorBoard's files.
LogBytes planned_log_bytes(const std::shared_ptr<const RecordLayout>& layout, const Config& config);

}  // namespace plumb

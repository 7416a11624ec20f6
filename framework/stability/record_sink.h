// RecordSink: who else gets the records of a run log.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "stability/step_record.h"

namespace plumb {

/// Called by one thread at a time. A fault that it throws is one of the run log.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  virtual void append(const StepRecord& record) = 0;
  /// What it has of this step and of later ones is void: the run has gone back.
  virtual void roll_back(std::int64_t first_step) = 0;
  /// Returns when all is on the disk.
  virtual void sync() = 0;
};

}  // namespace plumb

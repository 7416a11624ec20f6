// Bounds of the stream against the records of a run.
#pragma once

#include <vector>

#include "stability/step_record.h"
#include "theory/bound_watch.h"

namespace plumb {

/// Fills bounds.* of a record and returns the layers whose largest row lies above what the record's own norms
/// allow. Does nothing where the record is of no sampled step, or of one that was skipped.
std::vector<BoundViolation> check_bounds(BoundWatch& watch, StepRecord& record);

}  // namespace plumb

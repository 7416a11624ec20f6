// Bounds of the stream against the records of a run.
#pragma once

#include <vector>

#include "stability/step_record.h"
#include "theory/bound_watch.h"

namespace plumb {

/// Layers of a record whose largest row lies above what its own norms allow; none where the record is of no
/// sampled step or of one whose gradient is not finite.
std::vector<BoundViolation> bound_violations(BoundWatch& watch, const StepRecord& record);

}  // namespace plumb

// From recorded spans of a step to the script that other ranks see (plan/step_script.h).
#pragma once

#include <cstdint>
#include <vector>

#include "plan/step_script.h"
#include "trace/trace_recorder.h"

namespace plumb {

/// The script of a step from the events of one step, of which the first is the phase "step"; `end`: when the
/// next one began. `ranks`: of the world in which it was recorded. What a call of the communicator takes
/// itself is computing: the communicator is to be one that does nothing (comm/planned_communicator.h).
StepScript script_of(const std::vector<TraceEvent>& events, std::int64_t end, int ranks);

/// A step of which only the time is known: a third is forward, two thirds are backward, during which buckets
/// of so many bytes complete in proportion to their bytes, and nothing comes after them.
StepScript script_of(double seconds, const std::vector<double>& bucket_bytes, int ranks);

}  // namespace plumb

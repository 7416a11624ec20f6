// How much of the proved bound on the stream's rows was used.
#pragma once

#include "report/run_data.h"

namespace plumb {

/// Adds "bounds.share" to run.stability.arrays, largest row norm / bound at every boundary, where both are
/// logged.
void add_bound_shares(RunData& run);

}  // namespace plumb

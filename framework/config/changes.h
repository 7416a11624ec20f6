// What differs between two configurations: for a run that goes on from a checkpoint under another one.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace plumb {

/// "model.width: 64 -> 128" for every setting that differs and shapes the numbers of a run (shapes_numbers in
/// schema.h). Overrides are compared by their place in the list:
/// "model.override[0].norm.in.kind: \"l2\" -> not set", and "model.override[1]: ..." where the sublayers that
/// it covers differ or it is only on one side.
std::vector<std::string> changed_settings(const Config& before, const Config& after);

}  // namespace plumb

// docs/placements.md, generated from the rows of placements, schedules and inits.
#pragma once

#include <map>
#include <string>

namespace plumb {

/// docs/placements.md.
std::string placement_reference_markdown();
/// docs/figures/placements/<name>.svg, by name.
std::map<std::string, std::string> placement_figures();

}  // namespace plumb

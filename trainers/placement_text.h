// Placements as text for terminals of 100 columns, and as JSON.
#pragma once

#include <string>

#include "nn/description/placement_description.h"

namespace plumb {

/// Name, formula and citation of every row.
std::string placement_table_text();
/// The equations of a description alone: what a configuration computes, whatever its placement is called.
std::string equations_text(const PlacementDescription& description);
/// One placement at the options of its description.
std::string placement_text(const PlacementDescription& description);

/// A list with an object per row: what the rows themselves say.
std::string placement_table_json();
/// An object: what the row says, and what follows from it at these options, sublayer by sublayer.
std::string placement_json(const PlacementDescription& description);

}  // namespace plumb

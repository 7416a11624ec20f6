// A drawing of the blocks of a placement, made from its description.
#pragma once

#include <string>

#include "nn/description/placement_description.h"

namespace plumb {

/// SVG, to be read from the bottom up: the stream as a vertical line, beside it the branches. Blocks that
/// differ stand side by side, at most three of them.
std::string placement_svg(const PlacementDescription& description);

}  // namespace plumb

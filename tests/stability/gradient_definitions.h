// Definitions (definitions.h) of the gradient's norms, their spread over ranks, and gradient noise.
#pragma once

#include <map>
#include <string>

#include "definitions.h"

namespace plumb::test {

std::map<std::string, Definition> gradient_definitions();

}  // namespace plumb::test

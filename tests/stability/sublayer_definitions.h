// Definitions (definitions.h) of what is inside sublayers.
#pragma once

#include <map>
#include <string>

#include "definitions.h"

namespace plumb::test {

std::map<std::string, Definition> attention_definitions();
std::map<std::string, Definition> norm_definitions();
std::map<std::string, Definition> residual_definitions();

}  // namespace plumb::test

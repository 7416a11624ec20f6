// Definitions (definitions.h) of what is observed of whole tensors, of updates, and of leading signs.
#pragma once

#include <map>
#include <string>

#include "definitions.h"

namespace plumb::test {

std::map<std::string, Definition> observation_definitions();
std::map<std::string, Definition> update_definitions();

}  // namespace plumb::test

// Texts of unlike lengths across ranks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"

namespace plumb {

/// Every rank's text, in rank order, on every rank. `what` names the collectives in errors ("failures"). A
/// collective.
std::vector<std::string> gather_texts(Communicator& communicator, std::string_view what,
                                      std::string_view own);

}  // namespace plumb

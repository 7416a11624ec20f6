// The resolved configuration as text: runs/<name>/config.toml.
#pragma once

#include <string>

#include "config/load.h"

namespace plumb {

/// TOML with every key, each with a comment that says where its value came from. Loading the text gives the
/// same configuration.
std::string dump_config(const LoadedConfig& loaded);

}  // namespace plumb

// A configuration with a placement of framework/nn/placement_rows.cpp, loaded as a user's would be.
#pragma once

#include <string>
#include <vector>

#include "config/load.h"
#include "nn/placement.h"

namespace plumb::test {

/// Data that need no file, then `settings` ("key=value").
inline LoadedConfig load_placed(const std::string& placement, const std::vector<std::string>& settings = {}) {
  const ConfigSource source{
      "test.toml",
      "data.kind = 'markov'\ntraining.sequences_per_step = 2\nmodel.placement = '" + placement + "'\n"};
  return load_config(std::vector<ConfigSource>{source}, settings, {placement_settings, placement_names});
}

}  // namespace plumb::test

// Which statistics a run takes beside those that are always there.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "core/error.h"

namespace plumb {

/// Keys of [statistics] that are on.
struct StatisticsSelection {
  std::vector<std::string> keys;

  bool has(std::string_view key) const {
    return key.empty() || std::find(keys.begin(), keys.end(), key) != keys.end();
  }
};

/// What the configuration asks for.
StatisticsSelection selected_statistics(const Config& config);
/// Every key that a row of the table names.
StatisticsSelection all_statistics();

}  // namespace plumb

// Which statistics a run takes beside those that are always there.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "core/error.h"

namespace plumb {

struct StatisticsSettings {
  std::vector<std::string> keys;    ///< of [statistics], that are on
  double noise_scale_decay = 0.99;  ///< per step, of the moving averages behind the noise scale

  /// Whether rows of the table with this key are taken.
  bool has(std::string_view key) const {
    return key.empty() || std::find(keys.begin(), keys.end(), key) != keys.end();
  }
};

/// What the configuration asks for.
StatisticsSettings statistics_settings(const Config& config);
/// Every key that a row of the table names.
std::vector<std::string> statistics_keys();
/// All of them on.
inline StatisticsSettings all_statistics() { return {.keys = statistics_keys()}; }
/// Whether statistics.<key> is on by default; true of the empty key.
bool is_on_by_default(std::string_view key);

}  // namespace plumb

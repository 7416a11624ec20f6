#include "stability/statistics_settings.h"

#include "config/schema.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

const Field& field_of(std::string_view key) {
  const Field* field = find_field("statistics." + std::string(key));
  PLUMB_CHECK(field != nullptr, "the table of statistics names statistics.{}, which is no key", key);
  return *field;
}

}  // namespace

std::vector<std::string> statistics_keys() {
  std::vector<std::string> keys;
  for (const Statistic& statistic : statistics()) {
    if (statistic.key.empty() || std::find(keys.begin(), keys.end(), statistic.key) != keys.end()) continue;
    keys.emplace_back(statistic.key);
  }
  return keys;
}

bool is_on_by_default(std::string_view key) {
  return key.empty() || std::get<bool>(field_default(field_of(key)).data);
}

StatisticsSettings statistics_settings(const Config& config) {
  StatisticsSettings settings{.keys = {}, .noise_scale_decay = config.statistics.noise_scale_decay};
  for (const std::string& key : statistics_keys()) {
    if (std::get<bool>(field_value(field_of(key), config).data)) settings.keys.push_back(key);
  }
  return settings;
}

}  // namespace plumb

#include "stability/statistics_selection.h"

#include "config/schema.h"
#include "stability/statistics_table.h"

namespace plumb {

StatisticsSelection all_statistics() {
  StatisticsSelection selection;
  for (const Statistic& statistic : statistics()) {
    if (!selection.has(statistic.key)) selection.keys.emplace_back(statistic.key);
  }
  return selection;
}

StatisticsSelection selected_statistics(const Config& config) {
  StatisticsSelection selection;
  for (const std::string& key : all_statistics().keys) {
    const Field* field = find_field("statistics." + key);
    PLUMB_CHECK(field != nullptr, "the table of statistics names statistics.{}, which is no key", key);
    if (std::get<bool>(field_value(*field, config).data)) selection.keys.push_back(key);
  }
  return selection;
}

}  // namespace plumb

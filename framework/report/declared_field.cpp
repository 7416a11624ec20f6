// What the table of docs/metrics.md says of a field that the report shows.
#include <algorithm>

#include "report/report_statistics.h"
#include "stability/statistics_table.h"

namespace plumb {

const Statistic* declared_field(const ReportStatistic& statistic) {
  for (const Statistic& field : statistics()) {
    if (field.file != statistic.file) continue;
    const std::vector<std::string> paths = expand_path(field.path);
    if (std::find(paths.begin(), paths.end(), statistic.path) != paths.end()) return &field;
  }
  return nullptr;
}

std::string written_by(const ReportStatistic& statistic) {
  const Statistic* field = declared_field(statistic);
  if (field == nullptr || field->key.empty()) return std::string(statistic.written_by);
  return std::string("statistics.").append(field->key);
}

}  // namespace plumb

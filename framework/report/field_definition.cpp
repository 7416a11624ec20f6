// Definitions of logged fields, from the table that docs/metrics.md is made of.
#include <algorithm>

#include "report/report_statistics.h"
#include "stability/statistics_table.h"

namespace plumb {

std::string_view field_definition(const ReportStatistic& statistic) {
  for (const Statistic& row : statistics()) {
    if (row.file != statistic.file) continue;
    const std::vector<std::string> paths = expand_path(row.path);
    if (std::find(paths.begin(), paths.end(), statistic.path) != paths.end()) return row.definition;
  }
  return "";
}

}  // namespace plumb

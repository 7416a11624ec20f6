// Definitions of logged fields, from the table that docs/metrics.md is made of.
#include "report/report_statistics.h"
#include "stability/metrics_reference.h"

namespace plumb {
namespace {

/// "profiles.{stream,branch}.rms" is the declared name of "profiles.stream.rms" and "profiles.branch.rms".
bool declares(std::string_view name, std::string_view path) {
  const auto open = name.find('{'), close = name.find('}');
  if (open == name.npos || close == name.npos) return name == path;
  const std::string_view head = name.substr(0, open), tail = name.substr(close + 1);
  std::string_view choices = name.substr(open + 1, close - open - 1);
  while (true) {
    const auto comma = choices.find(',');
    std::string whole(head);
    whole.append(choices.substr(0, comma)).append(tail);
    if (whole == path) return true;
    if (comma == choices.npos) return false;
    choices.remove_prefix(comma + 1);
  }
}

}  // namespace

std::string_view field_definition(const ReportStatistic& statistic) {
  for (const MetricField& field : metric_fields()) {
    if (field.file == statistic.file && declares(field.name, statistic.path)) return field.definition;
  }
  return "";
}

}  // namespace plumb

// plumb metrics: the table of statistics, for people and for programs that read a run's logs.
#include <fmt/format.h>

#include "commands.h"
#include "session.h"
#include "stability/metrics_reference.h"

namespace plumb {

int run_metrics(const MetricsOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb metrics")) return 2;
  fmt::print("{}", options.json ? metrics_reference_json() : metrics_reference_markdown());
  return 0;
}

}  // namespace plumb

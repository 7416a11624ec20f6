// plumb trace: joins the parts that the ranks of a traced run have written.
#include <fmt/format.h>

#include <algorithm>

#include "commands.h"
#include "core/log.h"
#include "trace/merge_traces.h"

namespace plumb {

int run_trace(const TraceOptions& options) {
  const MergedTrace merged = merge_traces(options.run);
  for (const int rank : merged.missing)
    log_warning("rank {} of {} has left no part here", rank, merged.world);
  fmt::print("{}: {} of {} ranks, for ui.perfetto.dev or chrome://tracing\n", merged.path.string(),
             merged.world - static_cast<int>(merged.missing.size()), merged.world);
  return 0;
}

}  // namespace plumb

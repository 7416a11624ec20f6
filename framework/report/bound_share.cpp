#include "report/bound_share.h"

#include <utility>

namespace plumb {

void add_bound_shares(RunData& run) {
  const RecordMatrix* measured = find_array(run, "profiles.stream.max_row_norm");
  const RecordMatrix* bounds = find_array(run, "bounds.row_norm");
  if (measured == nullptr || bounds == nullptr || measured->columns != bounds->columns) return;
  RecordMatrix shares = *measured;
  for (std::size_t i = 0; i < shares.values.size(); ++i) shares.values[i] /= bounds->values[i];
  run.stability.arrays["bounds.share"] = std::move(shares);
}

}  // namespace plumb

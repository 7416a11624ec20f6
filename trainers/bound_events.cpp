#include "bound_events.h"

#include <cmath>

#include "stability/statistics_table.h"

namespace plumb {
namespace {

/// Empty where records of this run have no such field, as a model without norms has none of theirs.
std::span<const double> field(const StepRecord& record, std::string_view path) {
  const RecordField* found = record.layout->find(log_file::kStability, path);
  return found == nullptr ? std::span<const double>() : record.of(*found);
}

}  // namespace

std::vector<BoundViolation> check_bounds(BoundWatch& watch, StepRecord& record) {
  if (!record.sampled || record.skipped) return {};
  const std::span<const double> measured = field(record, "profiles.stream.max_row_norm");
  const NormSizes sizes{.gain_max_abs = field(record, "norms.gain.max_abs"),
                        .bias_mean = field(record, "norms.bias.mean"),
                        .bias_std = field(record, "norms.bias.std")};
  const std::span<const double> bounds = watch.bound(record.step - 1, sizes, measured.front());
  const std::span<double> logged = record.list("bounds.row_norm"), shares = record.list("bounds.share");
  for (std::size_t k = 0; k < bounds.size(); ++k) {
    // Level 0 is measured, not bounded.
    if (k == 0 || std::isnan(bounds[k])) continue;
    logged[k] = bounds[k];
    shares[k] = measured[k] / bounds[k];
  }
  return violations(watch.model(), bounds, measured, record.step);
}

}  // namespace plumb

// Rows of the table: FFNs, sublayer by sublayer.
#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_sources.h"

namespace plumb::detail {
namespace {

double dead_units(const StepSources& sources, std::int64_t k) {
  const StatisticsShape& shape = sources.shape();
  const std::int64_t units = count_at(shape.hidden_units, k);
  if (units == 0) return kAbsent;
  std::int64_t first = 0;
  for (std::int64_t earlier = 0; earlier < k; ++earlier) first += count_at(shape.hidden_units, earlier);
  double live = 0;
  for (std::int64_t i = first; i < first + units; ++i) {
    const double ranks = sources.summed(kUnitsPart, i);
    live += ranks > 1 ? 1 : ranks;  // a NaN stays one
  }
  return 1 - live / static_cast<double>(units);
}

constexpr Statistic kRows[] = {
    Statistic{log_file::kStability, "ffn.dead_units",
              "share of the hidden units whose pre-activation, bias included, is above 0 for no token of the "
              "step: a relu gives 0 for all of them and learns nothing. Of a gated unit its gate",
              "1", Probe::Sublayer, "max", kMaxOverAll, kDefinedHere, dead_units}
        .with_key("dead_units")
        .at_detailed_records(),
};

}  // namespace

std::span<const Statistic> feed_forward_rows() { return kRows; }

}  // namespace plumb::detail

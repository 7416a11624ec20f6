// Rows of the table: what is proved of the stream, beside what is measured.
#include "stability/statistics_table.h"

namespace plumb::detail {
namespace {

using log_file::kStability;

constexpr std::string_view kSource =
    "discrete form of arXiv 2510.09904's growth bounds: docs/design/theory.md";

constexpr Statistic kRows[] = {
    {kStability, "bounds.row_norm",
     "no row of the stream can have a larger 2-norm: from profiles.stream.max_row_norm at level 0 upwards, "
     "level "
     "by level by the coefficients and by norms.gain and norms.bias of N_out and N_post, as they were before "
     "the "
     "update. Absent at level 0, where neither norm bounds what is added, and at skipped steps",
     "activation", Probe::Stream, "bound", kSameOnAll, kSource},
    {kStability, "bounds.share",
     "profiles.stream.max_row_norm / bounds.row_norm: what is missing to 1 is the slack, above 1 is an event "
     "bound_violation",
     "1", Probe::Stream, "max", kMaxOverAll, kSource},
};

}  // namespace

std::span<const Statistic> bound_rows() { return kRows; }

}  // namespace plumb::detail

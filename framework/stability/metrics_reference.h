// The table of statistics for people and for programs: docs/metrics.md, `plumb metrics`.
#pragma once

#include <string>
#include <string_view>

#include "stability/statistic.h"

namespace plumb {

/// "scalar", "(K+1), (K)", ...
std::string_view shape_text(const Statistic& statistic);

/// docs/metrics.md.
std::string metrics_reference_markdown();

/// One object per field and line: {file, path, definition, unit, dimensions, rows, ranks, source, ...}, paths
/// without braces. `dimensions` are names (sublayer, stream, tensor, rank, norm); none of a scalar.
std::string metrics_reference_json();

}  // namespace plumb

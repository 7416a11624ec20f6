// The table of statistics for people and for programs: docs/metrics.md, `plumb metrics`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stability/statistic.h"

namespace plumb {

/// "scalar", "(K+1), (K)", ...
std::string_view shape_text(const Statistic& statistic);

/// Names of the dimensions of one field, a path without braces: see metrics_reference_json.
std::vector<std::string> dimensions(const Statistic& statistic, std::string_view path);

/// docs/metrics.md.
std::string metrics_reference_markdown();

/// One object per field and line: {file, path, definition, unit, dimensions, rows, ranks, source, ...}, paths
/// without braces. `dimensions` are names (sublayer, stream, tensor, rank, norm); none of a scalar.
std::string metrics_reference_json();

}  // namespace plumb

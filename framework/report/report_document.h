// The data of a page: what its scripts draw, as JSON.
#pragma once

#include <string>
#include <vector>

#include "report/run_data.h"

namespace plumb {

struct ReportOptions {
  std::string generator{};         ///< "plumb 0.1.0 (01ee3ac)"
  std::string created{};           ///< UTC
  std::size_t curve_points = 500;  ///< most points of a curve over steps
  std::size_t profile_steps = 13;  ///< most steps whose depth profiles are kept exactly
  std::size_t map_columns = 160;   ///< most columns of a heat map; fewer where the page would grow too large
};

/// JSON text, safe inside a <script> element (no '<'). Runs of one name get numbers.
std::string report_document(std::vector<RunData> runs, const ReportOptions& options);

}  // namespace plumb

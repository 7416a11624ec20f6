// The part of a page's data that lies over depth: exact profiles and heat maps.
#pragma once

#include <cstdint>
#include <vector>

#include "report/downsample.h"
#include "report/report_document.h"
#include "report/report_numbers.h"
#include "report/run_data.h"

namespace plumb {

/// First and last step of every bin, and of how many records they were made.
ReportJson bin_steps(const std::vector<StepBin>& bins, const std::vector<std::int64_t>& steps);

/// By statistic id: {steps, rows}, at steps that are chosen among those that have it.
ReportJson profiles_json(const RunData& run, const ReportOptions& options);
/// The steps that the page offers.
ReportJson profile_steps(const RunData& run, const ReportOptions& options);

/// By statistic id: {first, last, records, columns, mean, min, max}; the last two where records share a
/// column of the map.
ReportJson maps_json(const RunData& run, std::size_t columns);
/// How many columns the heat maps of all runs may have together, so that the page stays small.
std::size_t affordable_columns(const std::vector<RunData>& runs, const ReportOptions& options);

}  // namespace plumb

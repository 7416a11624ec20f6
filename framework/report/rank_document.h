// The part of a page's data that compares the ranks of a run.
#pragma once

#include <vector>

#include "report/rank_outliers.h"
#include "report/report_numbers.h"
#include "report/run_data.h"

namespace plumb {

/// Bands over all ranks, curves of up to eight of them (all, or those that differ most), outliers, and a
/// table by rank. {"world": 1} and no more for a run of one rank; null where nothing was logged.
ReportJson rank_document(const RunData& run, const std::vector<RankOutlier>& outliers);

}  // namespace plumb

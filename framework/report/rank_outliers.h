// Ranks whose gradients leave those of the others.
#pragma once

#include <cstddef>
#include <vector>

#include "report/run_data.h"

namespace plumb {

struct RankOutlier {
  std::size_t record = 0, rank = 0;
  double deviation = 0;  ///< robust standard deviations; infinite for a norm that is not finite
};

/// Of norms (records, ranks): log norm less the median over the other ranks, in units of 1.4826 MAD of that
/// quantity over all ranks of the last 128 records. The scale of one record alone would say nothing of few
/// ranks, and against a median that the rank itself is part of half of the values of 3 or 4 ranks would be
/// near 0. Values beyond `limit` are outliers and leave the window; of 3 ranks only the farthest, as it drags
/// the others' medians along. Nothing with fewer ranks, where one cannot tell which of them is at fault, nor
/// before 32 records.
std::vector<RankOutlier> rank_outliers(const RecordMatrix& norms, double limit = 6);

/// Mean over records of norm / median over ranks, by rank; NaN without a finite one.
std::vector<double> mean_rank_ratios(const RecordMatrix& norms);

}  // namespace plumb

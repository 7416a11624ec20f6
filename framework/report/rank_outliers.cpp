#include "report/rank_outliers.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>

namespace plumb {
namespace {

constexpr std::size_t kWindow = 128, kShortestWindow = 32, kFewestRanks = 3;

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const std::size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end());
  const double upper = values[middle];
  if (values.size() % 2 == 1) return upper;
  return (*std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle)) + upper) /
         2;
}

/// Median of a sorted list without one of its entries.
double median_without(const std::vector<double>& sorted, std::size_t place) {
  const std::size_t count = sorted.size() - 1;
  const auto at = [&](std::size_t i) { return sorted[i < place ? i : i + 1]; };
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  return count % 2 == 1 ? at(count / 2) : (at(count / 2 - 1) + at(count / 2)) / 2;
}

/// log norm less the median over the other ranks; infinite where the norm is not a positive number.
std::vector<double> log_deviations(const float* norms, std::size_t ranks) {
  std::vector<double> logs, sorted;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const double norm = norms[rank];
    const bool usable = std::isfinite(norm) && norm > 0;
    logs.push_back(usable ? std::log(norm) : std::numeric_limits<double>::infinity());
    if (usable) sorted.push_back(logs.back());
  }
  std::sort(sorted.begin(), sorted.end());
  for (double& value : logs) {
    if (!std::isfinite(value)) continue;
    const auto place = std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin();
    value -= median_without(sorted, static_cast<std::size_t>(place));
  }
  return logs;
}

double robust_scale(const std::deque<std::vector<double>>& window) {
  std::vector<double> sizes;
  for (const std::vector<double>& record : window) {
    for (const double value : record) sizes.push_back(std::abs(value));
  }
  return 1.4826 * median(std::move(sizes));
}

/// Of the outliers from `first` on.
void keep_farthest(std::vector<RankOutlier>& outliers, std::size_t first) {
  if (outliers.size() <= first + 1) return;
  const auto begin = outliers.begin() + static_cast<std::ptrdiff_t>(first);
  *begin = *std::max_element(begin, outliers.end(), [](const RankOutlier& a, const RankOutlier& b) {
    return std::abs(a.deviation) < std::abs(b.deviation);
  });
  outliers.resize(first + 1);
}

}  // namespace

std::vector<RankOutlier> rank_outliers(const RecordMatrix& norms, double limit) {
  std::vector<RankOutlier> outliers;
  if (norms.columns < kFewestRanks) return outliers;
  std::deque<std::vector<double>> window;
  for (std::size_t record = 0; record < norms.rows(); ++record) {
    const std::vector<double> deviations = log_deviations(norms.row(record), norms.columns);
    const double scale = window.size() < kShortestWindow ? 0 : robust_scale(window);
    std::vector<double> calm;
    const std::size_t before = outliers.size();
    for (std::size_t rank = 0; rank < norms.columns; ++rank) {
      const bool finite = std::isfinite(deviations[rank]);
      const double distance = finite && scale > 0 ? deviations[rank] / scale : finite ? 0 : deviations[rank];
      if (std::abs(distance) > limit) {
        outliers.push_back({record, rank, distance});
      } else if (finite) {
        calm.push_back(deviations[rank]);
      }
    }
    if (norms.columns == kFewestRanks) keep_farthest(outliers, before);
    window.push_back(std::move(calm));
    if (window.size() > kWindow) window.pop_front();
  }
  return outliers;
}

std::vector<double> mean_rank_ratios(const RecordMatrix& norms) {
  std::vector<double> sums(norms.columns, 0.0), counts(norms.columns, 0.0);
  for (std::size_t record = 0; record < norms.rows(); ++record) {
    const float* row = norms.row(record);
    std::vector<double> usable;
    for (std::size_t rank = 0; rank < norms.columns; ++rank) {
      if (std::isfinite(row[rank]) && row[rank] > 0) usable.push_back(row[rank]);
    }
    const double middle = median(std::move(usable));
    for (std::size_t rank = 0; rank < norms.columns; ++rank) {
      if (!std::isfinite(row[rank]) || row[rank] <= 0) continue;
      sums[rank] += row[rank] / middle;
      ++counts[rank];
    }
  }
  for (std::size_t rank = 0; rank < sums.size(); ++rank) sums[rank] /= counts[rank];
  return sums;
}

}  // namespace plumb

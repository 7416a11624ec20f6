// Fewer points of long series, with the extremes kept: a spike of one step stays visible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "report/run_data.h"

namespace plumb {

/// Records [begin, end) drawn as one point.
struct StepBin {
  std::size_t begin = 0, end = 0;
  bool operator==(const StepBin&) const = default;
};

/// At most `count` bins of equal width in steps; none is empty. One record each when there are no more
/// than `count`. Steps rise.
std::vector<StepBin> step_bins(std::span<const std::int64_t> steps, std::size_t count);

/// Of the finite values of a bin; all NaN when there is none.
struct BinValues {
  double smallest, largest, mean;
};
BinValues summarise(std::span<const double> values);

/// Median of the finite values of a window of `width` (odd) records around each record; NaN where it has
/// none. Unlike a mean, a spike does not smear over the window.
std::vector<double> moving_median(std::span<const double> values, std::size_t width);

/// At most `count` indices of 0..size-1: the first, the last and, in between, those nearest to steps that are
/// evenly spaced in the logarithm; fewer where several fall on one record. They rise.
std::vector<std::size_t> chosen_records(std::span<const std::int64_t> steps, std::size_t count);

}  // namespace plumb

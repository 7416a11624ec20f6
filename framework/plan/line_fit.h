// A linear model of two terms fitted to measured times.
#pragma once

#include <span>

namespace plumb {

struct TimedSize {
  double latencies = 0;  ///< how many latencies the transfer pays
  double bytes = 0;      ///< how many bytes it moves one after the other
  double seconds = 0;    ///< measured, > 0
};

struct LineFit {
  double latency = 0;  ///< seconds
  double seconds_per_byte = 0;
  double worst_residual = 0;  ///< largest |fitted / measured - 1|

  double seconds(const TimedSize& size) const {
    return latency * size.latencies + seconds_per_byte * size.bytes;
  }
};

/// Least squares of the relative differences, so that small and large sizes count alike; neither term is
/// negative (a term that would be is 0, and the other one fitted alone). At least two sizes.
LineFit fit_line(std::span<const TimedSize> sizes);

}  // namespace plumb

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

/// Of the lines through two of the sizes, and those of one term alone through one, that whose ratios to what
/// was measured have the least sum of |log ratio|: small and large sizes count alike, and a few that do not
/// lie on the line of the others (short messages that a buffer takes at once) do not bend it. No term is
/// negative. At least two sizes.
LineFit fit_line(std::span<const TimedSize> sizes);

}  // namespace plumb

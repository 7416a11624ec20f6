#include "backend/magnitude_bins.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace plumb {

double magnitude_bin_floor(int bin) {
  PLUMB_CHECK(bin >= 0 && bin < kMagnitudeBins, "there is no bin {} of magnitudes", bin);
  if (bin == kMagnitudeBelow) return 0;
  if (bin == kMagnitudeNaN) return std::numeric_limits<double>::quiet_NaN();
  const int step = bin - kFirstMagnitude;
  const double fraction = 1 + static_cast<double>(step % kBinsPerOctave) / kBinsPerOctave;
  return std::ldexp(fraction, kLowestMagnitudeExponent + step / kBinsPerOctave);
}

double magnitude_median(std::span<const double> counts) {
  PLUMB_CHECK(counts.size() == kMagnitudeBins, "{} bins of magnitudes, there are {}", counts.size(),
              static_cast<int>(kMagnitudeBins));
  double total = 0;
  for (int bin = 0; bin <= kMagnitudeAbove; ++bin) total += counts[static_cast<std::size_t>(bin)];
  if (!(total > 0)) return std::numeric_limits<double>::quiet_NaN();
  int bin = 0;
  for (double passed = counts[0]; 2 * passed < total; passed += counts[static_cast<std::size_t>(bin)]) ++bin;
  if (bin == kMagnitudeBelow) return 0;
  if (bin == kMagnitudeAbove) return std::numeric_limits<double>::infinity();
  return std::sqrt(magnitude_bin_floor(bin) * magnitude_bin_floor(bin + 1));
}

}  // namespace plumb

// Bins of magnitudes: eight for every power of two from 2^-24 to 2^24, found from the bits of a number, so
// that every backend and every dtype puts a value into the same one.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace plumb {

inline constexpr int kBinsPerOctave = 8;
inline constexpr int kLowestMagnitudeExponent = -24, kHighestMagnitudeExponent = 24;

/// Bins of |x|. Bin kFirstMagnitude + 8 (e + 24) + k holds 2^e (1 + k/8) <= |x| < 2^e (1 + (k + 1)/8).
enum MagnitudeBin : int {
  kMagnitudeBelow = 0,  ///< |x| < 2^-24, zeros too
  kFirstMagnitude = 1,
  kMagnitudeAbove = kFirstMagnitude + kBinsPerOctave * (kHighestMagnitudeExponent - kLowestMagnitudeExponent),
  kMagnitudeNaN,  ///< kMagnitudeAbove: |x| >= 2^24, infinities too
  kMagnitudeBins  ///< how many there are
};

namespace detail {
/// For a format with so many bits of fraction and that exponent bias, from the bits without the sign.
template <int kFractionBits, int kBias, class Bits>
constexpr int magnitude_bin_of_bits(Bits bits) {
  constexpr Bits kInfinity = static_cast<Bits>(2 * kBias + 1) << kFractionBits;
  constexpr Bits kLowest = static_cast<Bits>(kBias + kLowestMagnitudeExponent) << kFractionBits;
  constexpr Bits kBeyond = static_cast<Bits>(kBias + kHighestMagnitudeExponent) << kFractionBits;
  if (bits > kInfinity) return kMagnitudeNaN;
  if (bits >= kBeyond) return kMagnitudeAbove;
  if (bits < kLowest) return kMagnitudeBelow;
  return kFirstMagnitude + static_cast<int>((bits - kLowest) >> (kFractionBits - 3));
}
}  // namespace detail

constexpr int magnitude_bin(float x) {
  return detail::magnitude_bin_of_bits<23, 127>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffU);
}
constexpr int magnitude_bin(double x) {
  return detail::magnitude_bin_of_bits<52, 1023>(std::bit_cast<std::uint64_t>(x) & 0x7fffffffffffffffU);
}

/// The least magnitude in a bin: 0 for kMagnitudeBelow, NaN for kMagnitudeNaN.
double magnitude_bin_floor(int bin);

/// The median of the |x| that were counted (kMagnitudeBins counts; NaN left out): the geometric mean of the
/// ends of its bin, so within 6.1 % of the true one (sqrt(9/8) - 1); of an even number of values, of the
/// lower of the two in the middle. 0 below 2^-24, infinite from 2^24 on, NaN when nothing was counted.
double magnitude_median(std::span<const double> counts);

}  // namespace plumb

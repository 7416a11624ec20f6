// Maxima that a NaN wins: a statistic must not hide that something is not a number.
#pragma once

namespace plumb {

/// The larger of the two; NaN when one of them is.
template <class T>
constexpr T maximum_or_nan(T a, T b) {
  return a >= b || a != a ? a : b;
}

}  // namespace plumb

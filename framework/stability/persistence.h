// What makes of single deviations a lasting one: a cumulative sum on either side (Page 1954,
// doi:10.1093/biomet/41.1-2.100).
#pragma once

#include <algorithm>

namespace plumb {

/// A deviation u is in robust standard deviations. Every step adds what lies beyond kSlack, at most kLargest,
/// and takes kSlack off where there is nothing: no single step, however wild, is an alarm.
struct Persistence {
  static constexpr double kSlack = 0.75, kLargest = 3;

  double above = 0, below = 0;

  void add(double u, double limit) {
    const double cut = std::clamp(u, -kLargest, kLargest);
    above = std::clamp(above + cut - kSlack, 0.0, limit);
    below = std::clamp(below - cut - kSlack, 0.0, limit);
  }
  double largest() const { return std::max(above, below); }
  /// Where an alarm ends: kSlack less in every step without a deviation.
  bool is_over() const { return largest() == 0; }
};

/// What the sum must reach for one of `series` series that are watched at the same time: 12 + ln(series).
/// The chance that clean noise brings it there is about exp(-theta limit) in a step, with theta the root of
/// E exp(theta (min(u, kLargest) - kSlack)) = 1: 1.5 for normal noise, 1.1 for noise with tails as heavy as
/// those of Laplace or of Student's t with 3 degrees of freedom (drawn, 4 ranks). That is 1e-6 for one
/// series, and the logarithm keeps it up for many.
double persistence_limit(double series);

}  // namespace plumb

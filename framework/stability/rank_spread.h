// Every rank's value beside the median of the other ranks': what all rules about one rank of several rest on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace plumb {

/// Median of a list, which it reorders; NaN of an empty one.
double median_of(std::span<double> values);

/// The median over the other ranks, and not over all: of 3 or 4 values half lie next to their own median
/// whatever they are, and a rank would pull at the measure that it is held against. No allocation after the
/// constructor.
class MedianOfOthers {
 public:
  explicit MedianOfOthers(int ranks) { sorted_.reserve(static_cast<std::size_t>(ranks)); }

  /// The values that take part; those that are NaN do not, nor do ranks for which `left_out(rank)` is true
  /// while two others remain.
  template <class LeftOut>
  void collect(std::span<const double> values, LeftOut&& left_out) {
    fill(values, left_out);
    if (sorted_.size() < 2) fill(values, [](std::size_t) { return false; });
    std::sort(sorted_.begin(), sorted_.end());
  }
  /// How many take part.
  std::size_t count() const { return sorted_.size(); }
  /// Of a rank whose value is this; NaN without another rank.
  double of(double value) const;

 private:
  template <class LeftOut>
  void fill(std::span<const double> values, LeftOut&& left_out) {
    sorted_.clear();
    for (std::size_t rank = 0; rank < values.size(); ++rank) {
      if (values[rank] == values[rank] && !left_out(rank)) sorted_.push_back(values[rank]);
    }
  }
  std::vector<double> sorted_;
};

}  // namespace plumb

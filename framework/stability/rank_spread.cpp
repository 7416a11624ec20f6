#include "stability/rank_spread.h"

#include <limits>

namespace plumb {

double median_of(std::span<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

double MedianOfOthers::of(double value) const {
  const auto place =
      static_cast<std::size_t>(std::lower_bound(sorted_.begin(), sorted_.end(), value) - sorted_.begin());
  const bool is_member = place < sorted_.size() && sorted_[place] == value;
  const std::size_t others = sorted_.size() - (is_member ? 1 : 0);
  if (others == 0) return std::numeric_limits<double>::quiet_NaN();
  const auto at = [&](std::size_t i) { return sorted_[is_member && i >= place ? i + 1 : i]; };
  return others % 2 == 1 ? at(others / 2) : (at(others / 2 - 1) + at(others / 2)) / 2;
}

}  // namespace plumb

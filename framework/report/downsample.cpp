#include "report/downsample.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace plumb {
namespace {

double median(std::span<const double> values) {
  std::vector<double> finite;
  for (const double value : values) {
    if (std::isfinite(value)) finite.push_back(value);
  }
  if (finite.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = finite.begin() + static_cast<std::ptrdiff_t>(finite.size() / 2);
  std::nth_element(finite.begin(), middle, finite.end());
  if (finite.size() % 2 == 1) return *middle;
  return (*std::max_element(finite.begin(), middle) + *middle) / 2;
}

}  // namespace

std::vector<StepBin> step_bins(std::span<const std::int64_t> steps, std::size_t count) {
  std::vector<StepBin> bins;
  if (steps.empty()) return bins;
  if (steps.size() <= count) {
    for (std::size_t i = 0; i < steps.size(); ++i) bins.push_back({i, i + 1});
    return bins;
  }
  const double first = static_cast<double>(steps.front());
  const double width = (static_cast<double>(steps.back()) - first + 1) / static_cast<double>(count);
  std::size_t current = count;  // none yet
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto place =
        std::min(static_cast<std::size_t>((static_cast<double>(steps[i]) - first) / width), count - 1);
    if (place != current) bins.push_back({i, i});
    current = place;
    bins.back().end = i + 1;
  }
  return bins;
}

BinValues summarise(std::span<const double> values) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  BinValues result{kNaN, kNaN, kNaN};
  double sum = 0;
  std::size_t finite = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    result.smallest = finite == 0 ? value : std::min(result.smallest, value);
    result.largest = finite == 0 ? value : std::max(result.largest, value);
    sum += value;
    ++finite;
  }
  if (finite > 0) result.mean = sum / static_cast<double>(finite);
  return result;
}

std::vector<double> moving_median(std::span<const double> values, std::size_t width) {
  const std::size_t reach = width / 2;
  std::vector<double> medians;
  for (std::size_t i = 0; i < values.size(); ++i) {
    // Shorter at the ends, and symmetric, so that a slope is not bent there.
    const std::size_t side = std::min({reach, i, values.size() - 1 - i});
    medians.push_back(median(values.subspan(i - side, 2 * side + 1)));
  }
  return medians;
}

std::vector<std::size_t> chosen_records(std::span<const std::int64_t> steps, std::size_t count) {
  std::vector<std::size_t> chosen;
  if (steps.size() <= count) {
    for (std::size_t i = 0; i < steps.size(); ++i) chosen.push_back(i);
    return chosen;
  }
  const double first = std::log(static_cast<double>(std::max<std::int64_t>(steps.front(), 1)));
  const double last = std::log(static_cast<double>(steps.back()));
  for (std::size_t i = 0; i < count; ++i) {
    const double step =
        std::exp(first + (last - first) * static_cast<double>(i) / static_cast<double>(count - 1));
    auto above = std::lower_bound(steps.begin(), steps.end(), step,
                                  [](std::int64_t a, double b) { return static_cast<double>(a) < b; });
    if (above == steps.end()) --above;
    if (above != steps.begin() && step - static_cast<double>(above[-1]) < static_cast<double>(*above) - step)
      --above;
    const auto index = static_cast<std::size_t>(above - steps.begin());
    if (chosen.empty() || index > chosen.back()) chosen.push_back(index);
  }
  if (chosen.back() != steps.size() - 1) chosen.push_back(steps.size() - 1);
  return chosen;
}

}  // namespace plumb

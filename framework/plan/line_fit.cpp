#include "plan/line_fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "core/error.h"

namespace plumb {

namespace {

std::optional<LineFit> line_through(const TimedSize& one, const TimedSize& other) {
  const double determinant = one.latencies * other.bytes - other.latencies * one.bytes;
  if (determinant == 0) return {};
  return LineFit{
      .latency = (one.seconds * other.bytes - other.seconds * one.bytes) / determinant,
      .seconds_per_byte = (one.latencies * other.seconds - other.latencies * one.seconds) / determinant};
}

double distance(const LineFit& fit, std::span<const TimedSize> sizes) {
  double sum = 0;
  for (const TimedSize& size : sizes) sum += std::abs(std::log(fit.seconds(size) / size.seconds));
  return sum;
}

}  // namespace

LineFit fit_line(std::span<const TimedSize> sizes) {
  PLUMB_CHECK(sizes.size() >= 2, "a line through {} points", sizes.size());
  LineFit best;
  double least = std::numeric_limits<double>::infinity();
  const auto consider = [&](const LineFit& fit) {
    if (fit.latency < 0 || fit.seconds_per_byte < 0) return;
    const double its = distance(fit, sizes);
    if (its >= least) return;
    least = its;
    best = fit;
  };
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j)
      if (const auto line = line_through(sizes[i], sizes[j])) consider(*line);
    if (sizes[i].bytes > 0) consider({.seconds_per_byte = sizes[i].seconds / sizes[i].bytes});
    if (sizes[i].latencies > 0) consider({.latency = sizes[i].seconds / sizes[i].latencies});
  }
  for (const TimedSize& size : sizes)
    best.worst_residual = std::max(best.worst_residual, std::abs(best.seconds(size) / size.seconds - 1));
  return best;
}

}  // namespace plumb

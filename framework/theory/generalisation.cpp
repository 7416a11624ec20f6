#include "theory/generalisation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/parallel_for.h"
#include "core/rng.h"
#include "theory/assignment.h"
#include "theory/host_parameters.h"

namespace plumb {
namespace {

double distance_of(std::span<const double> x, std::span<const double> y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
  return std::sqrt(sum);
}

/// |l(x + h v) - l(x)| / h with v = direction / |direction|.
double stretch_along(const SampleLoss& loss, std::span<const double> x, double at_x,
                     std::span<const double> direction, double step) {
  const double size = norm_of(direction);
  if (size == 0) return 0;
  std::vector<double> moved(x.begin(), x.end());
  for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += step / size * direction[i];
  return std::abs(loss(moved) - at_x) / std::abs(step);
}

}  // namespace

Stretch stretch_at(const SampleLoss& loss, std::span<const double> x, std::span<const double> gradient,
                   double step, int directions, std::uint64_t seed) {
  PLUMB_CHECK(gradient.size() == x.size(), "a gradient of {} entries at a point of {}", gradient.size(),
              x.size());
  const double at_x = loss(x);
  Stretch stretch;
  std::vector<double> direction(x.size());
  for (int d = 0; d < directions; ++d) {
    const RandomStream random{seed, 0, static_cast<std::uint32_t>(d)};
    for (std::size_t i = 0; i < direction.size(); ++i) direction[i] = random.normal(i);
    stretch.random = std::max(stretch.random, stretch_along(loss, x, at_x, direction, step));
  }
  stretch.worst =
      std::max(stretch_along(loss, x, at_x, gradient, step), stretch_along(loss, x, at_x, gradient, -step));
  return stretch;
}

double pair_stretch(std::span<const double> x, std::span<const double> losses, std::int64_t width) {
  const auto columns = static_cast<std::size_t>(width);
  PLUMB_CHECK(x.size() == losses.size() * columns, "{} entries for {} losses", x.size(), losses.size());
  double largest = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const double distance = distance_of(x.subspan(i * columns, columns), x.subspan(j * columns, columns));
      if (distance > 0) largest = std::max(largest, std::abs(losses[i] - losses[j]) / distance);
    }
  }
  return largest;
}

double wasserstein_distance(std::span<const double> x, std::span<const double> y, std::int64_t width) {
  const auto columns = static_cast<std::size_t>(width);
  PLUMB_CHECK(x.size() == y.size() && !x.empty() && x.size() % columns == 0,
              "samples of {} and {} entries in rows of {}", x.size(), y.size(), width);
  const std::size_t n = x.size() / columns;
  std::vector<double> cost(n * n);
  parallel_for(static_cast<std::int64_t>(n), 1, [&](std::int64_t row) {
    const auto i = static_cast<std::size_t>(row);
    for (std::size_t j = 0; j < n; ++j) {
      cost[i * n + j] = distance_of(x.subspan(i * columns, columns), y.subspan(j * columns, columns));
    }
  });
  return cheapest_assignment(cost, static_cast<std::int64_t>(n)).cost / static_cast<double>(n);
}

GeneralisationDiagnostic generalisation_diagnostic(double stretch, double distance, double training_loss,
                                                   double validation_loss) {
  return {.stretch = stretch,
          .distance = distance,
          .predicted = stretch * distance,
          .measured = validation_loss - training_loss};
}

}  // namespace plumb

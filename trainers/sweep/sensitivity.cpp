#include "sweep/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace plumb {
namespace {

constexpr const char* kRateKey = "optimizer.learning_rate";
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// Cells of one group, and where they stand.
struct Group {
  SensitivityOfCells result;
  std::vector<std::size_t> cells;
};

std::vector<Group> groups_of(const SweepPlan& plan, std::size_t rate_axis) {
  std::vector<Group> groups;
  for (std::size_t i = 0; i < plan.cells.size(); ++i) {
    const SweepCell& cell = plan.cells[i];
    if (cell.values[rate_axis].empty()) continue;  // a cell of its own that is not crossed with it
    SensitivityOfCells place;
    for (std::size_t axis = 0; axis < plan.axes.size(); ++axis) {
      if (axis == rate_axis) continue;
      place.axes.push_back(axis);
      place.places.push_back(cell.place(axis));
    }
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](const Group& group) { return group.result.places == place.places; });
    if (found == groups.end()) found = groups.insert(groups.end(), {std::move(place), {}});
    found->cells.push_back(i);
  }
  return groups;
}

void measure(Group& group, const SweepPlan& plan, const std::vector<CellProgress>& progress) {
  SensitivityOfCells& result = group.result;
  const auto all = [&](auto holds) {
    return std::all_of(group.cells.begin(), group.cells.end(),
                       [&](std::size_t i) { return holds(progress[i]); });
  };
  result.value = result.best_rate = kNone;
  result.is_validation = all([](const CellProgress& cell) { return std::isfinite(cell.validation_loss); });
  std::vector<double> initial;
  for (const std::size_t i : group.cells) {
    result.rates.push_back(plan.cells[i].loaded.config.optimizer.learning_rate);
    result.losses.push_back(result.is_validation ? progress[i].validation_loss : progress[i].training_loss);
    initial.push_back(progress[i].initial_loss);
  }
  if (!all([](const CellProgress& cell) { return cell.state == CellState::Finished; })) return;
  result.value = learning_rate_sensitivity(result.losses, initial);
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < result.losses.size(); ++i) {
    if (!(result.losses[i] < best)) continue;
    best = result.losses[i];
    result.best_rate = result.rates[i];
  }
}

}  // namespace

double learning_rate_sensitivity(std::span<const double> losses, std::span<const double> initial_losses) {
  PLUMB_CHECK(losses.size() == initial_losses.size(), "{} losses, {} at the start", losses.size(),
              initial_losses.size());
  double best = std::numeric_limits<double>::infinity(), sum = 0;
  for (const double loss : losses) {
    if (std::isfinite(loss)) best = std::min(best, loss);
  }
  if (!std::isfinite(best)) return kNone;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    sum += (std::isfinite(losses[i]) ? std::min(losses[i], initial_losses[i]) : initial_losses[i]) - best;
  }
  return sum / static_cast<double>(losses.size());
}

std::vector<SensitivityOfCells> learning_rate_sensitivities(const SweepPlan& plan,
                                                            const std::vector<CellProgress>& progress) {
  std::vector<SensitivityOfCells> list;
  for (std::size_t axis = 0; axis < plan.axes.size(); ++axis) {
    if (plan.axes[axis].name != kRateKey) continue;
    for (Group& group : groups_of(plan, axis)) {
      measure(group, plan, progress);
      list.push_back(std::move(group.result));
    }
  }
  return list;
}

}  // namespace plumb

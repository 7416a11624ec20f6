// Sensitivity to the learning rate: what it costs not to know the best one.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "sweep/plan.h"
#include "sweep/progress.h"

namespace plumb {

/// E_eta[ min(l(eta), l_0) - l* ] over the learning rates of a sweep, as a plain mean; l* = min_eta l(eta),
/// l_0 the loss at the start. What is not finite counts as l_0; NaN when no loss is finite. Wortsman et al.
/// 2023, arXiv 2309.14322, section 2.2; final losses (nats per token). Both spans have one entry per learning
/// rate.
double learning_rate_sensitivity(std::span<const double> losses, std::span<const double> initial_losses);

/// Of the cells that differ in the learning rate alone.
struct SensitivityOfCells {
  std::vector<std::size_t> axes;    ///< the other axes, as indices into the plan's
  std::vector<std::string> places;  ///< on them
  std::vector<double> rates, losses;
  bool is_validation = false;  ///< losses are of the validation split, which all cells have; else of training
  double value = 0;            ///< NaN while a cell is not finished
  double best_rate = 0;        ///< with the lowest loss; NaN where there is none
};

/// One per place on the axes other than optimizer.learning_rate, in the order of the cells; none where that
/// is no axis. `progress`: of every cell.
std::vector<SensitivityOfCells> learning_rate_sensitivities(const SweepPlan& plan,
                                                            const std::vector<CellProgress>& progress);

}  // namespace plumb

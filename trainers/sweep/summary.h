// What a sweep tells of itself: a table for people, sweep.json for programs, a script for Slurm.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "sweep/plan.h"
#include "sweep/runner.h"
#include "sweep/sensitivity.h"

namespace plumb {

/// One line per cell: its places on the axes, state, steps, training loss (mean over the last twentieth of
/// the steps), validation loss.
std::string sweep_table(const SweepPlan& plan, const std::vector<CellOutcome>& outcomes);

/// One line per group of cells; empty where the learning rate is no axis.
std::string sensitivity_table(const SweepPlan& plan, const std::vector<SensitivityOfCells>& sensitivities);

/// docs/sweep.md says what is in it.
std::string sweep_json(const SweepPlan& plan, const std::vector<CellOutcome>& outcomes,
                       const std::vector<SensitivityOfCells>& sensitivities);

/// A job array for sbatch with one cell per line, each started by launch/slurm.sh.
std::string slurm_script(const SweepPlan& plan);

}  // namespace plumb

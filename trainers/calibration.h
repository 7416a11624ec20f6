// Calibration: real steps of a configuration on this machine, timed as the rank of a larger world would make
// them.
#pragma once

#include <cstdint>

#include "config/load.h"
#include "lm_task.h"
#include "plan/step_script.h"
#include "planned_run.h"
#include "session.h"

namespace plumb {

struct Calibration {
  StepScript script;     ///< mean over steps, and over the ranks that calibrated
  double variation = 0;  ///< of a rank's computing between steps and ranks: standard deviation / mean
};

/// Makes two steps, then `steps` timed ones, on every rank of the session at the same time, each by itself:
/// all build the run of a rank of `world`, whose collectives do nothing. A collective. InputError where the
/// host runs ahead of the device (see timed_step).
Calibration calibrate(Session& session, const LoadedConfig& loaded, const LanguageModelTask& task,
                      const PlannedRank& world, int steps);

/// Seconds of a step of one rank without others, the median of `steps` after two: for devices that the host
/// runs ahead of, whose parts of a step no clock of the host sees.
double timed_step(const LoadedConfig& loaded, const LanguageModelTask& task, std::int64_t local_sequences,
                  int steps);

}  // namespace plumb

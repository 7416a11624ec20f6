// What `plumb plan` finds, and its two prints.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plan/fabric.h"
#include "plan/step_simulation.h"
#include "planned_run.h"

namespace plumb {

/// One world.
struct PlanRow {
  int ranks = 1;
  int hosts = 1;
  std::int64_t sequences = 0;  ///< of a step, of all ranks
  RankMemory memory;           ///< of rank 0
  LogBytes log;                ///< that rank 0 writes in a step
  std::optional<SimulatedSteps> step;
  std::string no_step;  ///< why there is none
  double tokens_per_second = 0;
  double efficiency = 0;      ///< tokens per second and rank, over those of one rank alone
  bool extrapolated = false;  ///< another world than those that were measured
  std::string algorithm;      ///< of the largest bucket's reduction
};

/// Where the times of a step's parts are from.
struct Computing {
  std::string source;    ///< "5 steps, timed here on 2 ranks at a time"
  double seconds = 0;    ///< of a rank's step
  double variation = 0;  ///< standard deviation / mean
};

struct PlanReport {
  std::string device;
  std::int64_t parameters = 0;       ///< trainable ones
  std::int64_t micro_batch = 0;      ///< sequences that a rank runs at once
  std::int64_t sequence_length = 0;  ///< tokens
  int threads = 1;                   ///< of a rank
  int ranks_per_host = 1;
  std::size_t process_base = 0;  ///< bytes of this process before it built anything
  double flops = 0;              ///< of a rank's step
  double gradient_bytes = 0;     ///< that a step reduces
  std::vector<PlanRow> rows;
  std::optional<Fabric> fabric;  ///< absent: no times
  Computing computing;
};

std::string plan_text(const PlanReport& report);
std::string plan_json(const PlanReport& report);

}  // namespace plumb

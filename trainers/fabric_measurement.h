// Measuring a fabric: speeds of links, and of computing, as training uses them.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "plan/collective_time.h"
#include "plan/fabric.h"
#include "plan/line_fit.h"

namespace plumb {

/// A collective of all ranks of so many bytes: the slowest rank's median time.
struct MeasuredCollective {
  CollectiveKind kind = CollectiveKind::AllReduce;
  double bytes = 0;
  double seconds = 0;
  double fitted = 0;  ///< by the line through all of its kind
};

struct FabricMeasurement {
  Fabric fabric;
  std::vector<MeasuredCollective> collectives;  ///< over the link that was fitted
  std::vector<std::string> notes;               ///< what could not be measured, and how it can
};

/// Times sums, reductions to owners and gathers of rows of 1 KiB to 64 MiB (`rounds` each), how much of them
/// goes on beside computing, and an fp32 product, on all ranks at once. Ranks of one host measure `inside`;
/// one rank on each of several hosts `between`. Several ranks on each of several hosts need `inside` from a
/// measurement of one host, whose part is taken off; without it `between` is not measured. The communicator's
/// sum path has been chosen. A collective.
FabricMeasurement measure_fabric(Communicator& host, Backend& backend, const Fabric* known, int rounds);

}  // namespace plumb

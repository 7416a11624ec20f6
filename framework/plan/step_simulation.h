// A discrete-event simulation of training steps on many ranks.
#pragma once

#include <cstdint>

#include "plan/step_script.h"
#include "plan/stragglers.h"

namespace plumb {

struct SimulatedSteps {
  double seconds = 0;    ///< a step: the time of all of them over their number
  double computing = 0;  ///< of it, mean over ranks; stragglers' factors included
  double exposed = 0;    ///< communication that no computing covers, mean over ranks
  double waiting = 0;    ///< for ranks that are later, mean over ranks
};

/// All ranks follow the script, again and again. Rules:
/// - Computing of rank r in step s takes Stragglers::factor(s, r) times what the script says.
/// - Collectives run one after the other, in the order of the list; one begins when every rank has started
///   it and the one before is over, and then takes collective_time().
/// - It moves only where ranks call progress(): at most LinkSpeed::per_poll for each call of the rank that
///   calls least often at that time; ranks that wait, or do their part, move it all the time.
/// - What of it is not hidden the rank's core does: if it moved while the rank computed, the rank does its
///   part before what comes next.
/// - A rank that waits for a collective goes on when that is over. What it waits before the last rank has
///   started that collective is waiting, the rest is exposed, and so is work that is not hidden.
SimulatedSteps simulate_steps(const StepScript& script, const PlannedWorld& world, const Fabric& fabric,
                              const Stragglers& stragglers, int steps);

}  // namespace plumb

// StepScript: what a rank does in a step, as far as other ranks notice: computing, and collectives between.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "plan/collective_time.h"

namespace plumb {

/// What computing is for: they grow with different things.
enum class Work : std::uint8_t { Passes, Optimiser, Other };
inline constexpr std::size_t kWorks = 3;

struct ScriptedCollective {
  std::string name;
  CollectiveKind kind = CollectiveKind::AllReduce;
  double bytes = 0;           ///< of the whole tensor where ranks hold parts of it
  bool row_per_rank = false;  ///< bytes grow with the number of ranks
};

struct ScriptPoint {
  enum class Action : std::uint8_t { Start, Wait, End };
  std::array<double, kWorks> seconds{};  ///< computing before it
  int polls = 0;                         ///< calls of progress() meanwhile, this point's own included
  Action action = Action::End;
  int collective = 0;  ///< of Start and Wait: place in the list

  double computing() const { return seconds[0] + seconds[1] + seconds[2]; }
};

/// One step of one rank; the last point is End. Collectives start in the order of the list.
struct StepScript {
  std::vector<ScriptedCollective> collectives;
  std::vector<ScriptPoint> points;
  int ranks = 1;               ///< of the world that it was recorded in
  std::int64_t sequences = 1;  ///< of the rank's step
  bool sharded = false;        ///< the optimiser's work is a rank's share

  double computing() const;
  /// Throws where points and collectives do not fit together.
  void check() const;
};

/// The script in another world: an optimiser that is sharded has work in proportion to 1 / ranks, forward
/// and backward passes in proportion to the sequences of a rank, and rows of ranks to the ranks. Where a
/// rank makes more sequences the further ones come before the first collective, as accumulation steps do.
StepScript for_world(const StepScript& script, int ranks, std::int64_t sequences);

/// The mean of scripts of the same structure, and how far their computing varies from it: standard deviation
/// / mean of the sums, 0 with less than two of them.
StepScript mean_script(const std::vector<StepScript>& scripts, double* variation);

}  // namespace plumb

#include "plan/step_script.h"

#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {
constexpr auto kPasses = static_cast<std::size_t>(Work::Passes);
constexpr auto kOptimiser = static_cast<std::size_t>(Work::Optimiser);
}  // namespace

double StepScript::computing() const {
  double seconds = 0;
  for (const ScriptPoint& point : points) seconds += point.computing();
  return seconds;
}

void StepScript::check() const {
  int started = 0;
  std::vector<bool> waited(collectives.size());
  for (const ScriptPoint& point : points) {
    if (point.action == ScriptPoint::Action::Start) {
      PLUMB_CHECK(point.collective == started, "collective {} starts as number {}", point.collective,
                  started);
      ++started;
    } else if (point.action == ScriptPoint::Action::Wait) {
      PLUMB_CHECK(point.collective < started, "collective {} is waited for before it starts",
                  point.collective);
      waited[static_cast<std::size_t>(point.collective)] = true;
    }
  }
  PLUMB_CHECK(started == static_cast<int>(collectives.size()), "{} of {} collectives start", started,
              collectives.size());
  for (std::size_t i = 0; i < waited.size(); ++i)
    PLUMB_CHECK(waited[i], "nobody waits for collective {}", collectives[i].name);
  PLUMB_CHECK(!points.empty() && points.back().action == ScriptPoint::Action::End, "a script without an end");
}

StepScript for_world(const StepScript& script, int ranks, std::int64_t sequences) {
  StepScript scaled = script;
  scaled.ranks = ranks;
  scaled.sequences = sequences;
  for (ScriptedCollective& collective : scaled.collectives)
    if (collective.row_per_rank) collective.bytes *= static_cast<double>(ranks) / script.ranks;
  const double work = static_cast<double>(sequences) / static_cast<double>(script.sequences);
  const double share = script.sharded ? static_cast<double>(script.ranks) / ranks : 1;
  double passes = 0;
  for (ScriptPoint& point : scaled.points) {
    passes += point.seconds[kPasses];
    point.seconds[kOptimiser] *= share;
    if (work < 1) point.seconds[kPasses] *= work;
  }
  if (work > 1) scaled.points.front().seconds[kPasses] += (work - 1) * passes;
  return scaled;
}

StepScript mean_script(const std::vector<StepScript>& scripts, double* variation) {
  PLUMB_CHECK(!scripts.empty(), "the mean of no scripts");
  StepScript mean = scripts.front();
  const auto count = static_cast<double>(scripts.size());
  for (ScriptPoint& point : mean.points) point.seconds = {};
  for (const StepScript& script : scripts) {
    PLUMB_CHECK(script.points.size() == mean.points.size(), "steps with {} and {} points",
                script.points.size(), mean.points.size());
    for (std::size_t i = 0; i < mean.points.size(); ++i)
      for (std::size_t work = 0; work < kWorks; ++work)
        mean.points[i].seconds[work] += script.points[i].seconds[work] / count;
  }
  double squares = 0;
  for (const StepScript& script : scripts) {
    const double distance = script.computing() / mean.computing() - 1;
    squares += distance * distance;
  }
  *variation = scripts.size() < 2 ? 0 : std::sqrt(squares / (count - 1));
  return mean;
}

}  // namespace plumb

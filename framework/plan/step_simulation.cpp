#include "plan/step_simulation.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <set>
#include <vector>

#include "core/error.h"

namespace plumb {
namespace {

/// A rank reaches its next point, or a collective is over.
struct Event {
  double time = 0;
  std::uint64_t number = 0;   ///< of equal times the first that was noted
  std::uint64_t version = 0;  ///< of the end of a collective: of an earlier one it is not true any more
  int rank = -1;              ///< -1: the collective under way ends

  bool operator>(const Event& other) const {
    return time != other.time ? time > other.time : number > other.number;
  }
};

constexpr double kMost = std::numeric_limits<double>::max();
constexpr double kNothing = 1e-9;  ///< seconds: what rounding may leave of a collective that is over

struct Collective {
  int missing = 0;    ///< ranks that have not started it
  double joined = 0;  ///< when the last one had
  bool is_over = false;
  std::vector<int> waiting;  ///< ranks
};

struct Rank {
  std::size_t point = 0;
  std::int64_t step = 0;
  double density = kMost;    ///< polls per second of computing
  double worked_before = 0;  ///< Simulation::work_ that it has done or waited through
  double waits_since = 0;
  bool waits = false, held_up = false, ended = false, in_densities = false;
};

class Simulation {
 public:
  Simulation(const StepScript& script, const PlannedWorld& world, const Fabric& fabric,
             const Stragglers& stragglers, int steps)
      : script_(script),
        world_(world),
        stragglers_(stragglers),
        steps_(steps),
        ranks_(static_cast<std::size_t>(world.ranks)),
        collectives_(script.collectives.size() * static_cast<std::size_t>(steps)) {
    for (const ScriptedCollective& collective : script.collectives)
      times_.push_back(collective_time(collective.kind, collective.bytes, world, fabric));
    for (Collective& collective : collectives_) collective.missing = world.ranks;
  }

  SimulatedSteps run() {
    for (int rank = 0; rank < world_.ranks; ++rank) compute(rank, 0);
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      move_on(event.time);
      if (event.rank < 0) {
        if (event.version == version_) end_collective(event.time);
      } else {
        reach(event.rank, event.time);
      }
    }
    for (const Rank& rank : ranks_) PLUMB_CHECK(rank.ended, "a rank waits for ever at point {}", rank.point);
    const double share = 1.0 / world_.ranks / steps_;
    return {.seconds = last_ / steps_,
            .computing = computing_ * share,
            .exposed = exposed_ * share,
            .waiting = waiting_ * share};
  }

 private:
  Rank& rank_at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  void note(double time, int rank) { events_.push({time, next_number_++, version_, rank}); }
  std::size_t place_of(const Rank& rank, int collective) const {
    return static_cast<std::size_t>(rank.step) * script_.collectives.size() +
           static_cast<std::size_t>(collective);
  }

  /// The rank computes until its point.
  void compute(int rank, double now) {
    Rank& its = rank_at(rank);
    const ScriptPoint& point = script_.points[its.point];
    const double seconds = point.computing() * stragglers_.factor(its.step, rank);
    leave_densities(its);
    its.density = seconds > 0 ? point.polls / seconds : kMost;
    densities_.insert(its.density);
    its.in_densities = true;
    change_pace(now);
    computing_ += seconds;
    note(now + seconds, rank);
  }

  void reach(int rank, double now) {
    Rank& its = rank_at(rank);
    // Of what moved while it computed, its core did what is not hidden. What moves meanwhile is left for the
    // next point.
    const double work = its.held_up ? 0 : work_ - its.worked_before;
    its.held_up = work > 0;
    if (its.held_up) {
      its.worked_before = work_;
      exposed_ += work;
      leave_densities(its);
      change_pace(now);
      note(now + work, rank);
      return;
    }
    const ScriptPoint& point = script_.points[its.point];
    if (point.action == ScriptPoint::Action::End) {
      its.point = 0;
      its.step += 1;
      last_ = std::max(last_, now);
      its.ended = its.step == steps_;
      if (its.ended) leave_densities(its);
      if (!its.ended) compute(rank, now);
      return;
    }
    const std::size_t place = place_of(its, point.collective);
    if (point.action == ScriptPoint::Action::Wait && !collectives_[place].is_over) {
      its.waits = true;
      leave_densities(its);
      change_pace(now);
      its.waits_since = now;
      collectives_[place].waiting.push_back(rank);
      return;
    }
    its.point += 1;
    compute(rank, now);
    if (point.action == ScriptPoint::Action::Start) join(place, now);
  }

  void join(std::size_t place, double now) {
    Collective& collective = collectives_[place];
    if (--collective.missing > 0) return;
    collective.joined = now;
    begin_next(now);
  }

  /// The next collective in order, if every rank has started it and none is under way.
  void begin_next(double now) {
    if (is_busy_ || next_collective_ == collectives_.size()) return;
    if (collectives_[next_collective_].missing > 0) return;
    is_busy_ = true;
    remaining_ = under_way().seconds;
    updated_ = now;
    pace_ = 0;
    change_pace(now);
    if (remaining_ <= kNothing) finish_at(now);
  }

  const CollectiveTime& under_way() const { return times_[next_collective_ % script_.collectives.size()]; }

  /// What is under way has moved until now.
  void move_on(double now) {
    if (!is_busy_ || now <= updated_) return;
    const double moved = std::min(remaining_, (now - updated_) * pace_);
    remaining_ -= moved;
    updated_ = now;
    if (moved > 0) work_ += moved * under_way().busy / under_way().seconds;
  }

  void leave_densities(Rank& rank) {
    if (!rank.in_densities) return;
    densities_.erase(densities_.find(rank.density));
    rank.in_densities = false;
  }

  /// What is under way moves as fast as the rank lets it that polls least often; a rank that waits, or does
  /// its part of a collective, polls all the time.
  void change_pace(double now) {
    if (!is_busy_ || remaining_ <= kNothing) return;  // or its end is noted
    const double per_poll = under_way().per_poll;
    const double least = densities_.empty() ? kMost : *densities_.begin();
    const bool free = per_poll >= LinkSpeed::kNeedsNoPolls || least >= 1 / per_poll;
    const double pace = free ? 1 : least * per_poll;
    if (pace == pace_) return;
    pace_ = pace;
    if (pace > 0) {
      finish_at(now + remaining_ / pace);
    } else {
      ++version_;
    }
  }
  void finish_at(double time) {
    ++version_;
    note(time, -1);
  }

  void end_collective(double now) {
    Collective& collective = collectives_[next_collective_++];
    collective.is_over = true;
    is_busy_ = false;
    ++version_;
    for (const int rank : collective.waiting) {
      Rank& its = rank_at(rank);
      const double late = std::max(0.0, collective.joined - its.waits_since);
      waiting_ += late;
      exposed_ += now - its.waits_since - late;
      its.waits = false;
      its.worked_before = work_;
      its.point += 1;
      compute(rank, now);
    }
    collective.waiting = {};
    begin_next(now);
  }

  const StepScript& script_;
  PlannedWorld world_;
  Stragglers stragglers_;
  int steps_;
  std::vector<Rank> ranks_;
  std::vector<Collective> collectives_;  ///< of all steps
  std::vector<CollectiveTime> times_;    ///< of one
  std::size_t next_collective_ = 0;      ///< under way, or the next one to be
  bool is_busy_ = false;
  double remaining_ = 0, updated_ = 0, pace_ = 0;  ///< seconds that are left of it, since when, and how fast
  double work_ = 0;                                ///< seconds of cores in all that has moved so far
  std::uint64_t version_ = 0;                      ///< of its end
  std::multiset<double> densities_;                ///< of ranks that do not wait
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t next_number_ = 0;
  double last_ = 0, computing_ = 0, exposed_ = 0, waiting_ = 0;
};

}  // namespace

SimulatedSteps simulate_steps(const StepScript& script, const PlannedWorld& world, const Fabric& fabric,
                              const Stragglers& stragglers, int steps) {
  PLUMB_CHECK(steps >= 1, "{} steps", steps);
  script.check();
  return Simulation(script, world, fabric, stragglers, steps).run();
}

}  // namespace plumb

#include "step_recording.h"

#include <algorithm>
#include <string_view>

#include "comm/planned_communicator.h"
#include "core/error.h"

namespace plumb {
namespace {

struct NamedKind {
  std::string_view name;  ///< as CollectiveObserver has it
  CollectiveKind kind;
  bool is_started;  ///< the call returns before it is over
  bool row_per_rank;
};
constexpr NamedKind kKinds[] = {
    {"start_all_reduce", CollectiveKind::AllReduce, true, false},
    {"start_rounded_all_reduce", CollectiveKind::RoundedAllReduce, true, false},
    {"start_reduce_scatter", CollectiveKind::ReduceScatter, true, false},
    {"start_all_gather", CollectiveKind::AllGatherRows, true, false},
    {"all_reduce", CollectiveKind::AllReduce, false, false},
    {"all_gather", CollectiveKind::AllGather, false, true},
    {"reduce_scatter", CollectiveKind::ReduceScatter, false, true},
    {"broadcast", CollectiveKind::Broadcast, false, false},
    {"barrier", CollectiveKind::Barrier, false, false},
};

const NamedKind& kind_named(std::string_view name) {
  for (const NamedKind& kind : kKinds)
    if (kind.name == name) return kind;
  fail("no collective is called {}", name);
}

/// Phases that do not nest in each other, and what their time grows with.
Work work_of(std::string_view phase) {
  for (const std::string_view pass : {"data", "upload batch", "forward", "backward"})
    if (phase == pass) return Work::Passes;
  return phase == "optimiser" ? Work::Optimiser : Work::Other;
}

class ScriptWriter {
 public:
  ScriptWriter(const std::vector<TraceEvent>& events, int ranks)
      : events_(events), now_(events.front().begin) {
    script_.ranks = ranks;
    for (const TraceEvent& event : events)
      if (event.kind == TraceKind::Phase && work_of(event.name.data()) != Work::Other)
        phases_.push_back(&event);
  }

  StepScript script(std::int64_t end) {
    for (const TraceEvent& event : events_) {
      if (event.kind == TraceKind::Call) call(event);
      if (event.kind == TraceKind::Wait) wait(event);
    }
    point(ScriptPoint::Action::End, 0, end);
    script_.check();
    return script_;
  }

 private:
  void call(const TraceEvent& event) {
    const NamedKind& kind = kind_named(event.collective);
    const auto index = static_cast<int>(script_.collectives.size());
    script_.collectives.push_back(
        {event.name.data(), kind.kind, static_cast<double>(event.bytes), kind.row_per_rank});
    waited_.push_back(!kind.is_started);
    point(ScriptPoint::Action::Start, index, event.begin);
    if (!kind.is_started) point(ScriptPoint::Action::Wait, index, event.begin);
  }

  /// Of the oldest collective of that name that nobody has waited for.
  void wait(const TraceEvent& event) {
    if (event.name.data() == PlannedCommunicator::kProgress) {
      ++polls_;
      return;
    }
    for (std::size_t i = 0; i < waited_.size(); ++i) {
      if (waited_[i] || script_.collectives[i].name != event.name.data()) continue;
      waited_[i] = true;
      point(ScriptPoint::Action::Wait, static_cast<int>(i), event.begin);
      return;
    }
  }

  void point(ScriptPoint::Action action, int collective, std::int64_t time) {
    ScriptPoint next{.seconds = {}, .polls = polls_ + 1, .action = action, .collective = collective};
    polls_ = 0;
    const auto seconds = [](std::int64_t nanoseconds) { return 1e-9 * static_cast<double>(nanoseconds); };
    double left = seconds(time - now_);
    for (const TraceEvent* phase : phases_) {
      const std::int64_t shared = std::min(phase->end, time) - std::max(phase->begin, now_);
      if (shared <= 0) continue;
      next.seconds[static_cast<std::size_t>(work_of(phase->name.data()))] += seconds(shared);
      left -= seconds(shared);
    }
    next.seconds[static_cast<std::size_t>(Work::Other)] = std::max(0.0, left);
    now_ = time;
    script_.points.push_back(next);
  }

  const std::vector<TraceEvent>& events_;
  std::vector<const TraceEvent*> phases_;
  std::vector<bool> waited_;  ///< each collective
  StepScript script_;
  std::int64_t now_;
  int polls_ = 0;  ///< since the last point
};

}  // namespace

StepScript script_of(const std::vector<TraceEvent>& events, std::int64_t end, int ranks) {
  PLUMB_CHECK(!events.empty() && std::string_view(events.front().name.data()) == "step",
              "a step's events begin with its phase");
  return ScriptWriter(events, ranks).script(end);
}

StepScript script_of(double seconds, const std::vector<double>& bucket_bytes, int ranks) {
  StepScript script;
  script.ranks = ranks;
  double all = 0;
  for (const double bytes : bucket_bytes) all += bytes;
  const double forward = seconds / 3, backward = seconds - forward;
  // A thousand polls in a bucket's time: what moves collectives is not known.
  constexpr int polls = 1000;
  for (std::size_t i = 0; i < bucket_bytes.size(); ++i) {
    const double before = (i == 0 ? forward : 0) + backward * bucket_bytes[i] / all;
    script.collectives.push_back({"gradients", CollectiveKind::AllReduce, bucket_bytes[i], false});
    script.points.push_back({{before, 0, 0}, polls, ScriptPoint::Action::Start, static_cast<int>(i)});
  }
  for (std::size_t i = 0; i < bucket_bytes.size(); ++i)
    script.points.push_back({{}, 0, ScriptPoint::Action::Wait, static_cast<int>(i)});
  script.points.push_back({{}, 0, ScriptPoint::Action::End, 0});
  return script;
}

}  // namespace plumb

// Recorded spans of a step against the script written down by hand.
#include "step_recording.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "core/error.h"

namespace plumb {
namespace {
using Action = ScriptPoint::Action;

TraceEvent event(TraceKind kind, std::string_view name, std::int64_t begin, std::int64_t end,
                 const char* collective = nullptr, std::int64_t bytes = 0) {
  TraceEvent event;
  event.kind = kind;
  std::copy(name.begin(), name.end(), event.name.begin());
  event.begin = begin * 1'000'000'000;
  event.end = end * 1'000'000'000;
  event.collective = collective;
  event.bytes = bytes;
  return event;
}

/// forward 1-4, backward 4-12 with a bucket at 7 and one at 12, waits at 13, optimiser 13-18, rows at 19.
std::vector<TraceEvent> step() {
  return {event(TraceKind::Phase, "step", 0, 18),
          event(TraceKind::Phase, "forward", 1, 4),
          event(TraceKind::Phase, "backward", 4, 12),
          event(TraceKind::Phase, "blocks.1.ffn", 5, 7),
          event(TraceKind::Wait, "progress", 5, 5),
          event(TraceKind::Wait, "progress", 6, 6),
          event(TraceKind::Call, "gradients", 7, 7, "start_all_reduce", 400),
          event(TraceKind::Call, "gradients", 12, 12, "start_all_reduce", 100),
          event(TraceKind::Wait, "gradients", 13, 13),
          event(TraceKind::Wait, "gradients", 13, 13),
          event(TraceKind::Phase, "optimiser", 13, 18),
          event(TraceKind::Call, "rows", 19, 19, "all_gather", 64)};
}

TEST(StepRecording, HasCollectivesWhereTheyWereCalled) {
  const StepScript script = script_of(step(), 20'000'000'000, 2);
  ASSERT_EQ(script.collectives.size(), 3u);
  EXPECT_EQ(script.collectives[0].bytes, 400);
  EXPECT_EQ(script.collectives[2].kind, CollectiveKind::AllGather);
  EXPECT_TRUE(script.collectives[2].row_per_rank);
  const std::vector<Action> actions = {Action::Start, Action::Start, Action::Wait, Action::Wait,
                                       Action::Start, Action::Wait,  Action::End};
  const std::vector<int> collectives = {0, 1, 0, 1, 2, 2, 0};
  ASSERT_EQ(script.points.size(), actions.size());
  for (std::size_t i = 0; i < actions.size(); ++i) {
    EXPECT_EQ(script.points[i].action, actions[i]) << i;
    EXPECT_EQ(script.points[i].collective, collectives[i]) << i;
  }
}

TEST(StepRecording, TellsWhatTimeWasFor) {
  const StepScript script = script_of(step(), 20'000'000'000, 2);
  EXPECT_EQ(script.points[0].seconds, (std::array<double, kWorks>{6, 0, 1}));
  EXPECT_EQ(script.points[1].seconds, (std::array<double, kWorks>{5, 0, 0}));
  EXPECT_EQ(script.points[2].seconds, (std::array<double, kWorks>{0, 0, 1}));
  EXPECT_EQ(script.points[4].seconds, (std::array<double, kWorks>{0, 5, 1}));
  EXPECT_EQ(script.points[6].seconds, (std::array<double, kWorks>{0, 0, 1}));
  EXPECT_DOUBLE_EQ(script.computing(), 20);
  EXPECT_EQ(script.points[0].polls, 3);
  EXPECT_EQ(script.points[1].polls, 1);
}

TEST(StepRecording, ACollectiveThatNobodyWaitsForIsAnError) {
  std::vector<TraceEvent> events = step();
  events.erase(events.begin() + 8);
  EXPECT_THROW(script_of(events, 20'000'000'000, 2), Error);
}

TEST(StepRecording, AWholeTimeIsSharedOut) {
  const StepScript script = script_of(9, {300, 100}, 2);
  EXPECT_DOUBLE_EQ(script.points[0].computing(), 3 + 6 * 0.75);
  EXPECT_DOUBLE_EQ(script.points[1].computing(), 6 * 0.25);
  EXPECT_DOUBLE_EQ(script.computing(), 9);
  EXPECT_NO_THROW(script.check());
}

}  // namespace
}  // namespace plumb

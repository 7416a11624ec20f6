// The simulated step against closed forms.
#include "plan/step_simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "expected_maximum.h"

namespace plumb {
namespace {
using Action = ScriptPoint::Action;

/// A collective of n bytes between one-rank hosts takes n / 1000 seconds over two of them (one level, no
/// latency).
Fabric fabric_with(double hidden, double latency = 0) {
  Fabric fabric;
  fabric.between = Link{.sums = {.latency = latency, .seconds_per_byte = 1e-3, .hidden = hidden}};
  fabric.inside = Link{.sums = {.latency = 0, .seconds_per_byte = 1e-3, .hidden = hidden}};
  return fabric;
}

/// Computes `before`, starts a sum of so many bytes, computes `beside`, waits, computes `after`.
StepScript one_bucket(double before, double bytes, double beside, double after) {
  StepScript script;
  script.collectives = {{"bucket", CollectiveKind::AllReduce, bytes, false}};
  script.points = {{{before, 0, 0}, 0, Action::Start, 0},
                   {{beside, 0, 0}, 0, Action::Wait, 0},
                   {{0, after, 0}, 0, Action::End, 0}};
  return script;
}

constexpr PlannedWorld kTwo{2, 1};

SimulatedSteps simulate(const StepScript& script, double hidden, const PlannedWorld& world = kTwo,
                        const Stragglers& stragglers = {}, int steps = 1) {
  return simulate_steps(script, world, fabric_with(hidden), stragglers, steps);
}

TEST(StepSimulation, WithoutOverlapItIsTheSum) {
  // Nothing between start and wait, or nothing hidden.
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 4000, 0, 2), 1).seconds, 3 + 4 + 2);
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 4000, 5, 2), 0).seconds, 3 + 4 + 5 + 2);
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 4000, 5, 2), 0).exposed, 4);
}

TEST(StepSimulation, WithPerfectOverlapItIsTheMaximum) {
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 4000, 5, 2), 1).seconds, 3 + std::max(4, 5) + 2);
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 4000, 5, 2), 1).exposed, 0);
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 7000, 5, 2), 1).seconds, 3 + std::max(7, 5) + 2);
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 7000, 5, 2), 1).exposed, 2);
}

TEST(StepSimulation, WhatIsNotHiddenTakesTheCore) {
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 4000, 5, 2), 0.75).seconds, 3 + 5 + 1 + 2);
  EXPECT_DOUBLE_EQ(simulate(one_bucket(3, 8000, 1, 2), 0.75).seconds, 3 + 8 + 2)
      << "its part of what moves meanwhile it does while it waits";
}

TEST(StepSimulation, WhereRanksPollSeldomItMovesWhenTheyPoll) {
  Fabric fabric = fabric_with(1);
  fabric.between->sums.per_poll = 0.5;
  StepScript script = one_bucket(3, 4000, 5, 2);
  // Two polls in 5 s move it by 1 s of its 4; the rest is waited for.
  script.points[1].polls = 2;
  EXPECT_DOUBLE_EQ(simulate_steps(script, kTwo, fabric, {}, 1).seconds, 3 + 5 + 3 + 2);
  script.points[1].polls = 0;
  EXPECT_DOUBLE_EQ(simulate_steps(script, kTwo, fabric, {}, 1).seconds, 3 + 5 + 4 + 2);
  // Ten polls are enough: it moves as fast as it can.
  script.points[1].polls = 10;
  EXPECT_DOUBLE_EQ(simulate_steps(script, kTwo, fabric, {}, 1).seconds, 3 + 5 + 2);
}

TEST(StepSimulation, TheCoreDoesNothingForWhatDoesNotMove) {
  Fabric fabric = fabric_with(0.75);
  fabric.between->sums.per_poll = 0.5;
  StepScript script = one_bucket(3, 4000, 5, 2);
  script.points[1].polls = 0;
  EXPECT_DOUBLE_EQ(simulate_steps(script, kTwo, fabric, {}, 1).seconds, 3 + 5 + 4 + 2);
  // 1 s of its 4 moves in the 5 s, a quarter of that is the core's, in which as much moves again: 2.75 are
  // left.
  script.points[1].polls = 2;
  EXPECT_DOUBLE_EQ(simulate_steps(script, kTwo, fabric, {}, 1).seconds, 3 + 5 + 0.25 + 2.75 + 2);
}

TEST(StepSimulation, ItDoesNotMatterHowComputingIsCut) {
  for (const double hidden : {0.0, 0.5, 0.75}) {
    StepScript script;
    script.collectives = {{"bucket", CollectiveKind::AllReduce, 4000, false},
                          {"nothing", CollectiveKind::AllReduce, 0, false}};
    script.points = {{{3, 0, 0}, 0, Action::Start, 0},
                     {{2, 0, 0}, 0, Action::Start, 1},
                     {{6, 0, 0}, 0, Action::Wait, 0},
                     {{0, 0, 0}, 0, Action::Wait, 1},
                     {{0, 2, 0}, 0, Action::End, 0}};
    const SimulatedSteps steps = simulate(script, hidden);
    EXPECT_DOUBLE_EQ(steps.seconds, 3 + 8 + 4 * (1 - hidden) + 2) << hidden;
    EXPECT_DOUBLE_EQ(steps.exposed, 4 * (1 - hidden)) << hidden;
  }
}

TEST(StepSimulation, CollectivesQueueUp) {
  // Two of 4 s, the second one started 1 s after the first: over at 3 + 8.
  StepScript script;
  script.collectives = {{"first", CollectiveKind::AllReduce, 4000, false},
                        {"second", CollectiveKind::AllReduce, 4000, false}};
  script.points = {{{3, 0, 0}, 0, Action::Start, 0},
                   {{1, 0, 0}, 0, Action::Start, 1},
                   {{1, 0, 0}, 0, Action::Wait, 0},
                   {{0, 0, 0}, 0, Action::Wait, 1},
                   {{0, 0, 0}, 0, Action::End, 0}};
  const SimulatedSteps steps = simulate(script, 1);
  EXPECT_DOUBLE_EQ(steps.seconds, 11);
  EXPECT_DOUBLE_EQ(steps.exposed, 6);
}

TEST(StepSimulation, OneRankOnlyComputes) {
  const SimulatedSteps steps = simulate(one_bucket(3, 4000, 5, 2), 0, {1, 1}, {}, 3);
  EXPECT_DOUBLE_EQ(steps.seconds, 10);
  EXPECT_DOUBLE_EQ(steps.computing, 10);
  EXPECT_DOUBLE_EQ(steps.waiting, 0);
}

TEST(StepSimulation, TakesTheTimeOfItsCollectiveInLargeWorlds) {
  const PlannedWorld world{4096, 8};
  const Fabric fabric = fabric_with(1, 1e-4);
  const double sum = collective_time(CollectiveKind::AllReduce, 4000, world, fabric).seconds;
  EXPECT_NEAR(simulate_steps(one_bucket(3, 4000, 0, 2), world, fabric, {}, 2).seconds, 5 + sum, 1e-9);
}

TEST(StepSimulation, EveryStepEndsWithTheSlowestRank) {
  // Without overlap and communication that takes no time, a step takes the slowest rank's computing.
  const Stragglers stragglers{.variation = 0.05, .seed = 11};
  const PlannedWorld world{16, 1};
  const int steps = 400;
  const SimulatedSteps simulated = simulate(one_bucket(1, 0, 0, 0), 1, world, stragglers, steps);
  double slowest = 0, mean = 0;
  for (int step = 0; step < steps; ++step) {
    double most = 0;
    for (int rank = 0; rank < world.ranks; ++rank) {
      most = std::max(most, stragglers.factor(step, rank));
      mean += stragglers.factor(step, rank) / world.ranks / steps;
    }
    slowest += most / steps;
  }
  EXPECT_NEAR(simulated.seconds, slowest, 1e-9);
  EXPECT_NEAR(simulated.waiting, slowest - mean, 1e-9);
  EXPECT_NEAR(simulated.seconds, 1 + 0.05 * test::expected_maximum_of_normals(16), 0.004);
}

TEST(StepSimulation, TimesOfARankAddUp) {
  const Stragglers stragglers{.variation = 0.1, .seed = 5};
  const SimulatedSteps steps = simulate(one_bucket(3, 4000, 5, 0), 0.5, {8, 1}, stragglers, 50);
  // All but the ends of the last step, at which ranks wait for nobody: none here, the wait is at the end.
  EXPECT_NEAR(steps.computing + steps.exposed + steps.waiting, steps.seconds, 0.02 * steps.seconds);
}

}  // namespace
}  // namespace plumb

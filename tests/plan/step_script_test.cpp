#include "plan/step_script.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace plumb {
namespace {
using Action = ScriptPoint::Action;

StepScript two_buckets() {
  StepScript script;
  script.ranks = 2;
  script.sequences = 4;
  script.collectives = {{"gradients", CollectiveKind::ReduceScatter, 1000, false},
                        {"rows", CollectiveKind::AllGather, 80, true}};
  script.points = {{{3, 0, 1}, 0, Action::Start, 0},
                   {{2, 0, 0}, 0, Action::Wait, 0},
                   {{0, 6, 0}, 0, Action::Start, 1},
                   {{0, 0, 0}, 0, Action::Wait, 1},
                   {{0, 0, 0.5}, 0, Action::End, 0}};
  return script;
}

TEST(StepScript, ComputingIsAllOfIt) { EXPECT_DOUBLE_EQ(two_buckets().computing(), 12.5); }

TEST(StepScript, AnotherWorldHasOtherShares) {
  StepScript script = two_buckets();
  EXPECT_DOUBLE_EQ(for_world(script, 8, 4).computing(), 12.5) << "the whole update on every rank";
  EXPECT_DOUBLE_EQ(for_world(script, 8, 4).collectives[1].bytes, 320);
  EXPECT_DOUBLE_EQ(for_world(script, 8, 4).collectives[0].bytes, 1000);
  script.sharded = true;
  EXPECT_DOUBLE_EQ(for_world(script, 8, 4).computing(), 12.5 - 6 + 1.5);
  EXPECT_DOUBLE_EQ(for_world(script, 2, 2).computing(), 12.5 - 2.5);
  const StepScript more = for_world(script, 2, 12);
  EXPECT_DOUBLE_EQ(more.computing(), 12.5 + 10);
  EXPECT_DOUBLE_EQ(more.points[1].computing(), 2)
      << "what overlaps is one micro-batch, however many there are";
}

TEST(StepScript, MeanAndVariationOfSteps) {
  StepScript slow = two_buckets();
  slow.points[0].seconds[0] += 5;
  double variation = 0;
  const StepScript mean = mean_script({two_buckets(), slow}, &variation);
  EXPECT_DOUBLE_EQ(mean.computing(), 15);
  EXPECT_DOUBLE_EQ(mean.points[0].seconds[0], 5.5);
  EXPECT_NEAR(variation, 2.5 / 15 * 1.41421356, 1e-6);
}

TEST(StepScript, WhatDoesNotFitTogetherIsRefused) {
  EXPECT_NO_THROW(two_buckets().check());
  StepScript script = two_buckets();
  script.points.erase(script.points.begin() + 1);
  EXPECT_THROW(script.check(), Error) << "nobody waits";
  script = two_buckets();
  script.points.pop_back();
  EXPECT_THROW(script.check(), Error) << "no end";
  script = two_buckets();
  std::swap(script.points[0], script.points[1]);
  EXPECT_THROW(script.check(), Error) << "waits before it starts";
}

}  // namespace
}  // namespace plumb

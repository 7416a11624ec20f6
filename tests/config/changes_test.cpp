// What a run that goes on under another configuration is told.
#include "config/changes.h"

#include <gmock/gmock.h>

#include "config/fixture.h"

namespace plumb {
namespace {
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

std::vector<std::string> changes(const std::string& before, const std::string& after) {
  return changed_settings(load_text(minimal() + before).config, load_text(minimal() + after).config);
}

constexpr const char* kTwoOverrides = R"(
[[model.override]]
blocks = [0, 3]
norm.post.kind = "l2"
[[model.override]]
sublayer = "ffn"
norm.post.kind = "rmsnorm"
activation = "relu"
)";

TEST(ConfigChanges, KeysThatShapeNumbers) {
  EXPECT_THAT(changes("", ""), IsEmpty());
  EXPECT_THAT(changes("run.name = 'a'\nlog.console_every = 3\ncompute.recompute = 'ffn'",
                      "checkpoint.every = 7\nvalidation.every = 2"),
              IsEmpty());
  EXPECT_THAT(changes("model.width = 128", "optimizer.beta1 = 0.8"),
              ElementsAre("optimizer.beta1: 0.9 -> 0.8", "model.width: 128 -> 64"));
}

TEST(ConfigChanges, TwoOverridesOfOneKeyAreTwoSettings) {
  EXPECT_THAT(changes(kTwoOverrides, kTwoOverrides), IsEmpty());
  std::string other = kTwoOverrides;
  other.replace(other.find("\"l2\""), 4, "\"dyt\"");
  EXPECT_THAT(changes(kTwoOverrides, other),
              ElementsAre("model.override[0].norm.post.kind: \"l2\" -> \"dyt\""));
}

TEST(ConfigChanges, WhatWasRemovedIsNamedToo) {
  const std::string all = kTwoOverrides;
  const std::string first = all.substr(0, all.rfind("[[model"));
  EXPECT_THAT(changes(all, first), ElementsAre("model.override[1]: ffn sublayers -> not set",
                                               "model.override[1].norm.post.kind: \"rmsnorm\" -> not set",
                                               "model.override[1].activation: \"relu\" -> not set"));
  EXPECT_THAT(changes(first, all),
              UnorderedElementsAre("model.override[1]: not set -> ffn sublayers",
                                   "model.override[1].norm.post.kind: not set -> \"rmsnorm\"",
                                   "model.override[1].activation: not set -> \"relu\""));
  std::string moved = first;
  moved.replace(moved.find("[0, 3]"), 6, "[0, 4]");
  EXPECT_THAT(changes(first, moved), ElementsAre("model.override[0]: all sublayers of blocks 0 to 3 -> all "
                                                 "sublayers of blocks 0 to 4"));
  EXPECT_THAT(
      changes("[[model.override]]\nevery = 2\nactivation = 'relu'",
              "[[model.override]]\nevery = 3\nactivation = 'relu'"),
      ElementsAre("model.override[0]: all sublayers of every 2 blocks -> all sublayers of every 3 blocks"));
}

}  // namespace
}  // namespace plumb

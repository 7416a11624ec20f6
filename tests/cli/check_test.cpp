// plumb check from outside: the toy table of docs/check.md, its verdicts and exit codes, a placement without
// a name, and what cannot be run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "configurations.h"
#include "program.h"
#include "tiny_run.h"

namespace plumb::test {
namespace {
using ::testing::HasSubstr;
using Json = nlohmann::json;

Outcome run_check(const Folder& folder, std::vector<std::string> arguments, int ranks = 1) {
  arguments.insert(arguments.begin(), "check");
  arguments.insert(arguments.end(), {"--set", "device=cpu", "--set", "compute.threads=1"});
  return Running(folder, plumb_line(ranks, arguments)).wait(280);
}

std::string check_config(const std::string& name) {
  return (configs_folder() / "checks" / (name + ".toml")).string();
}

struct Toy {
  std::string config;
  double exponent, tolerance;  ///< of log2(Var_96 / Var_48), mean of five seeds
  std::vector<std::string> classes;
  std::string verdict;
  int status;
};

class ToyCheck : public ::testing::TestWithParam<Toy> {};

TEST_P(ToyCheck, ComesOutWithItsVerdict) {
  const Folder folder;
  const Toy& toy = GetParam();
  const Outcome outcome =
      run_check(folder, {check_config("toy"), check_config(toy.config), "--seeds", "5", "--json"});
  ASSERT_EQ(outcome.status, toy.status) << outcome.text();
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["sublayers"], 96);
  EXPECT_EQ(json["seeds"].size(), 5U);
  const Json& measured = json["measured"];
  EXPECT_NEAR(measured["doubling_exponent"].get<double>(), toy.exponent, toy.tolerance);
  EXPECT_THAT(toy.classes, ::testing::Contains(measured["growth"]["class"].get<std::string>()))
      << measured["growth"]["basis"];
  EXPECT_EQ(json["verdict"]["verdict"], toy.verdict) << json["verdict"].dump(2);
  EXPECT_EQ(json["verdict"]["reasons"].empty(), toy.verdict == "regular");
  // The recursion says the same beforehand.
  const Json& predicted = json["predicted"];
  EXPECT_NEAR(predicted["doubling_exponent"].get<double>(), toy.exponent, toy.tolerance);
  EXPECT_NEAR(predicted["gradient_ratio"].get<double>() / measured["gradient_ratio"].get<double>(), 1, 0.35);
  EXPECT_TRUE(json["bounds"]["violations"].empty());
  ASSERT_EQ(json["steps"].size(), 5U);
  EXPECT_EQ(json["steps"][2]["b"], 0.1);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ToyCheck,
    ::testing::Values(Toy{"pre", 0.96, 0.15, {"linear"}, "regular", 0},
                      Toy{"peri", 0.95, 0.15, {"linear"}, "regular", 0},
                      // 48 doublings of the variance are noisy: a few per cent each.
                      Toy{"none", 48, 2, {"exponential"}, "pathological", 1},
                      Toy{"pre-growing", 6.15, 0.3, {"exponential"}, "pathological", 1},
                      Toy{"peri-growing", 0.95, 0.15, {"linear"}, "regular", 0},
                      // The best power of some seeds is 1.99: as good a name.
                      Toy{"pre-correlated", 2.05, 0.15, {"quadratic", "power"}, "borderline", 0}),
    [](const auto& test) { return test_name(test.param.config); });

TEST(Check, APlacementThatNobodyHasNamed) {
  const Folder folder;
  const Outcome outcome = run_check(folder, {check_config("toy"), check_config("unnamed"), "--seeds", "1"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("x' = a x + b N_out(F(x)) + e x_block"));
  for (const char* section : {"PLACEMENT", "GROWTH WITH DEPTH", "PROFILE", "BOUNDS", "HEAD-ROOM", "STEP SIZE",
                              "VERDICT: regular"}) {
    EXPECT_THAT(outcome.out, HasSubstr(section));
  }
  for (const std::string& line : lines_of(outcome.out)) EXPECT_LE(line.size(), 110U) << line;
}

// A Transformer on text, whose coefficients rise over time from 0: they are taken at the end of the ramp.
TEST(Check, ATransformerWithARamp) {
  const Folder folder;
  const Outcome outcome =
      run_check(folder, {write_tiny_run(folder), "--seeds", "2", "--json", "--set", "model.blocks=5", "--set",
                         "model.residual.b.time=prores-linear", "--set", "model.residual.b.ramp_steps=50"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["ends_ramps"], true);
  EXPECT_GT(json["measured"]["variance"].back().get<double>(), 1) << "b is not 0";
  EXPECT_THAT(json["bounds"]["source"].back().get<std::string>(), "N_out");
  EXPECT_EQ(json["placement"], "peri");
}

TEST(Check, MoreThanOneStreamIsMeasuredAndNotPredicted) {
  const Folder folder;
  const Outcome outcome = run_check(folder, {write_tiny_run(folder), "--seeds", "1", "--set",
                                             "model.placement=hyper-connections", "--set", "model.blocks=5"});
  ASSERT_NE(outcome.status, 2) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("predicted  n/a: model.streams.kind = 'hyper'"));
}

TEST(Check, WhatCannotBeRunIsStatusTwo) {
  const Folder folder;
  const std::string config = write_tiny_run(folder);
  const Outcome unknown = run_check(folder, {config, "--set", "model.placement=perri"});
  EXPECT_EQ(unknown.status, 2);
  EXPECT_THAT(unknown.plumb_lines(), ::testing::ElementsAre(HasSubstr("did you mean 'peri'?")));
  EXPECT_EQ(run_check(folder, {folder / "missing.toml"}).status, 2);
  EXPECT_EQ(run_check(folder, {config, "--seeds", "0"}).status, 2);
  const Outcome no_data = run_check(folder, {config, "--set", "data.train=" + (folder / "none.bin")});
  EXPECT_EQ(no_data.status, 2);
  EXPECT_EQ(no_data.plumb_lines().size(), 1U) << no_data.text();
  const Outcome ranks = run_check(folder, {config}, 2);
  EXPECT_EQ(ranks.status, 2);
  EXPECT_THAT(ranks.error, HasSubstr("plumb check runs on one rank"));
}

}  // namespace
}  // namespace plumb::test

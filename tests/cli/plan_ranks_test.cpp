// plumb doctor --bandwidth on two ranks writes what plumb plan reads, and two ranks plan together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "program.h"
#include "tiny_run.h"

namespace plumb::test {
namespace {
using ::testing::HasSubstr;
using Json = nlohmann::json;

TEST(PlanRanks, WhatIsMeasuredIsPlannedWith) {
  const Folder folder;
  write_tiny_run(folder);
  const std::string fabric = folder / "fabric.json";
  const Outcome doctor = run_plumb(
      folder, 2,
      {"doctor", "--bandwidth", "--rounds", "1", "--device", "cpu", "--threads", "1", "--output", fabric});
  ASSERT_EQ(doctor.status, 0) << doctor.text();
  EXPECT_THAT(doctor.out, HasSubstr("residual"));
  EXPECT_THAT(doctor.out, HasSubstr("the speed between hosts is not measured"));
  const Json measured = Json::parse(read_file(fabric));
  EXPECT_EQ(measured.at("ranks"), 2);
  EXPECT_EQ(measured.at("hosts"), 1);
  for (const char* way : {"sums", "to_owners", "gathers"}) {
    EXPECT_THAT(doctor.out, HasSubstr(std::string("inside   ") + way));
    EXPECT_GT(measured.at("inside").at(way).at("seconds_per_byte"), 0) << way;
  }
  EXPECT_TRUE(measured.at("between").is_null());

  for (const char* sharded : {"false", "true"}) {
    const Outcome plan =
        run_plumb(folder, 2,
                  {"plan", folder / "config.toml", "--fabric", fabric, "--ranks", "1,2", "--steps", "3",
                   "--json", "--set", std::string("optimizer.sharded=") + sharded});
    ASSERT_EQ(plan.status, 0) << plan.text();
    const Json json = Json::parse(plan.out);
    EXPECT_EQ(json.at("worlds").at(1).at("sequences_per_step"), 4) << "the file is for this launch";
    EXPECT_GT(json.at("worlds").at(1).at("step").at("seconds"), json.at("computing").at("seconds"));
    EXPECT_THAT(json.at("computing").at("source").get<std::string>(), HasSubstr("2 rank(s) at a time"));
  }
}

}  // namespace
}  // namespace plumb::test

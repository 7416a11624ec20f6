#include "report/config_difference.h"

#include <gmock/gmock.h>

namespace plumb {
namespace {

using ::testing::ElementsAre;

RunData run_of(std::vector<ConfigEntry> config) {
  RunData run;
  run.config = std::move(config);
  return run;
}

TEST(ConfigDifference, OnlyWhatDiffersInTheOrderOfTheFiles) {
  const std::vector<RunData> runs = {
      run_of({{"run.name", "\"a\"", ""}, {"seed", "1", ""}, {"width", "64", ""}, {"lr", "0.1", ""}}),
      run_of({{"run.name", "\"b\"", ""},
              {"seed", "2", ""},
              {"extra", "true", ""},
              {"width", "64", ""},
              {"lr", "0.2", ""}})};
  const std::vector<ConfigDifference> differences = config_differences(runs);
  ASSERT_EQ(differences.size(), 3U);
  EXPECT_EQ(differences[0].key, "seed");
  EXPECT_THAT(differences[0].values, ElementsAre("1", "2"));
  EXPECT_EQ(differences[1].key, "extra");
  EXPECT_THAT(differences[1].values, ElementsAre("not set", "true"));
  EXPECT_EQ(differences[2].key, "lr");
}

TEST(ConfigDifference, ARunWithoutAConfigurationMakesNone) {
  const std::vector<RunData> runs = {run_of({{"seed", "1", ""}}), run_of({})};
  EXPECT_TRUE(config_differences(runs).empty());
  const std::vector<RunData> three = {run_of({{"seed", "1", ""}}), run_of({}), run_of({{"seed", "2", ""}})};
  EXPECT_THAT(config_differences(three).at(0).values, ElementsAre("1", "not known", "2"));
}

TEST(ConfigDifference, ChosenSettingsAreThoseThatAreNotDefaults) {
  const RunData run =
      run_of({{"run.name", "\"a\"", "file:1"}, {"seed", "1", "default"}, {"lr", "1", "--set"}});
  const std::vector<ConfigEntry> chosen = chosen_settings(run);
  ASSERT_EQ(chosen.size(), 1U);
  EXPECT_EQ(chosen[0].key, "lr");
}

}  // namespace
}  // namespace plumb

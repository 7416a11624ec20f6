// Every configuration under configs/ loads with the placements of this build and divides over ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "config/batch.h"
#include "config/load.h"
#include "nn/placement.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

std::vector<fs::path> configurations() {
  std::vector<fs::path> list;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(PLUMB_SOURCE_DIR) / "configs")) {
    if (entry.path().extension() == ".toml") list.push_back(entry.path());
  }
  std::sort(list.begin(), list.end());
  return list;
}

class Configuration : public ::testing::TestWithParam<fs::path> {};

TEST_P(Configuration, LoadsAndDividesOverOneAndTwoRanks) {
  const LoadedConfig loaded =
      load_config(std::vector<fs::path>{GetParam()}, {}, {placement_settings, placement_names});
  for (const std::string& warning : loaded.warnings) ADD_FAILURE() << warning;
  for (const int world : {1, 2}) EXPECT_GE(check_batch(loaded, world).accumulation, 1);
  EXPECT_TRUE(loaded.config.run.dir.empty()) << "a relative default folder, so that files do not collide";
  EXPECT_EQ(loaded.config.run.name, GetParam().stem().string());
}

INSTANTIATE_TEST_SUITE_P(Folder, Configuration, ::testing::ValuesIn(configurations()), [](const auto& test) {
  std::string name = test.param.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

TEST(Configurations, ThoseThatTheReadmeNamesAreThere) {
  const std::vector<fs::path> list = configurations();
  for (const char* name : {"quickstart.toml", "king-james.toml"}) {
    EXPECT_EQ(std::count_if(list.begin(), list.end(),
                            [&](const fs::path& path) { return path.filename() == name; }),
              1);
  }
}

}  // namespace
}  // namespace plumb

// Sharpness on several ranks is that of one, and a run that measures it is the run that does not.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

const std::vector<std::string> kSettings = {"checkpoint.every=10", "model.dropout.branch=0.1"};
constexpr const char* kFields[] = {"critical_lr", "critical_sharpness", "hessian_eigenvalue",
                                   "hessian_residual"};

std::vector<std::string> with_sharpness(std::vector<std::string> settings) {
  settings.insert(settings.end(), {"sharpness.every=8", "sharpness.iterations=20"});
  return settings;
}

TEST(Sharpness, IsTheSameOnAnyNumberOfRanks) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path());
  for (const int ranks : {1, 2})
    train(ranks, config, folder.path() / std::to_string(ranks), with_sharpness(kSettings));
  const std::vector<Json> one = read_records(folder.path() / "1" / "metrics.jsonl"),
                          two = read_records(folder.path() / "2" / "metrics.jsonl");
  for (std::size_t i = 0; i < one.size(); ++i) {
    for (const char* name : kFields) {
      const bool due = (i + 1) % 8 == 0;
      ASSERT_EQ(one[i].count(name), due ? 1u : 0u) << name << ", step " << i + 1;
      if (!due) continue;
      const double a = one[i].at(name), b = two.at(i).at(name);
      // The bracket of the critical step has 64 rungs; losses that differ in the last bits may take the next.
      if (name != std::string("hessian_residual")) {
        EXPECT_NEAR(a, b, 0.02 * std::abs(a)) << name;
      }
    }
    if ((i + 1) % 8 != 0) continue;
    EXPECT_NEAR(one[i].at("critical_sharpness").get<double>() * one[i].at("critical_lr").get<double>(), 2,
                1e-12);
    EXPECT_GT(one[i].at("critical_lr").get<double>(), 0);
  }
}

TEST(Sharpness, MeasuringChangesNoBitOfTheRun) {
  for (const int ranks : {1, 2}) {
    const TemporaryFolder folder;
    const std::filesystem::path config = write_config(folder.path());
    train(ranks, config, folder.path() / "plain", kSettings);
    train(ranks, config, folder.path() / "measured", with_sharpness(kSettings));
    for (const int step : {10, 20})
      expect_same_checkpoint(folder.path() / "measured", folder.path() / "plain", step);
  }
}

}  // namespace
}  // namespace plumb::distributed

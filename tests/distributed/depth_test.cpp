// Very deep models train: 96 and 512 blocks, under peri, deepnorm, keel, and pre with steps of 1/K.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;

/// What is not finite is named under "nonfinite", beside its null; a null alone is absent: what a sublayer
/// does not have, the update ratio of a tensor that is still zero, a noise scale whose |G|^2 is not above 0.
void expect_finite(const Json& record) {
  EXPECT_FALSE(record.contains("nonfinite")) << record.at("nonfinite").dump();
  if (!record.contains("profiles")) return;  // the first line, which has names, or another file
  EXPECT_EQ(record.at("profiles").dump().find("null"), std::string::npos) << record.at("profiles").dump();
  const Json& tensors = record.at("tensors");
  for (std::size_t i = 0; i < tensors.at("update_ratio").size(); ++i)
    EXPECT_EQ(tensors.at("update_ratio")[i].is_null(), tensors.at("parameter_norm")[i] == 0);
}

struct Case {
  std::string name;
  int blocks;
  std::vector<std::string> settings;
};

class Depth : public ::testing::TestWithParam<Case> {};

TEST_P(Depth, TwentyStepsStayFiniteAndLearn) {
  const TemporaryFolder folder;
  const std::filesystem::path config = write_config(folder.path()), run = folder.path() / "run";
  std::vector<std::string> settings = GetParam().settings;
  settings.insert(settings.end(), {fmt::format("model.blocks={}", GetParam().blocks), "log.stability_every=1",
                                   "log.ranks_every=1", "optimizer.learning_rate=3e-3",
                                   "learning_rate.warmup_steps=4", "communication.bucket_megabytes=0.25"});
  train(2, config, run, settings);
  const auto metrics = read_records(run / "metrics.jsonl"), stability = read_records(run / "stability.jsonl");
  ASSERT_EQ(metrics.size(), 20U);
  ASSERT_EQ(stability.size(), 21U);  // a line of names first
  EXPECT_EQ(stability[1].at("profiles").at("stream").at("rms").size(),
            static_cast<std::size_t>(2 * GetParam().blocks + 1));
  for (const char* file : {"metrics.jsonl", "stability.jsonl", "ranks.jsonl"}) {
    for (const Json& record : read_records(run / file)) expect_finite(record);
  }
  for (const Json& record : metrics) EXPECT_FALSE(record.at("skipped").get<bool>());
  const std::vector<double> losses = loss_curve(run);
  const double first = std::accumulate(losses.begin(), losses.begin() + 5, 0.0) / 5,
               last = std::accumulate(losses.end() - 5, losses.end(), 0.0) / 5;
  std::printf("%s: mean loss of steps 1-5 %.4f, of steps 16-20 %.4f\n", GetParam().name.c_str(), first, last);
  EXPECT_LT(last, first - 0.05);
}

const std::vector<std::string> kPeri = {"model.placement=peri"};
/// K counts sublayers, two to a block.
const std::vector<std::string> kPre = {"model.placement=pre", "model.residual.b.depth=1/L",
                                       "model.residual.b.counts=sublayers"};

const std::vector<std::string> kDeepnorm = {"model.placement=deepnorm"};
const std::vector<std::string> kKeel = {"model.placement=keel"};

INSTANTIATE_TEST_SUITE_P(Placements, Depth,
                         ::testing::Values(Case{"peri_96", 96, kPeri}, Case{"pre_96", 96, kPre},
                                           Case{"deepnorm_96", 96, kDeepnorm}, Case{"keel_96", 96, kKeel},
                                           Case{"peri_512", 512, kPeri}, Case{"pre_512", 512, kPre},
                                           Case{"deepnorm_512", 512, kDeepnorm},
                                           Case{"keel_512", 512, kKeel}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace plumb::distributed

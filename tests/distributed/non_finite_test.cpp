// A NaN that one kernel of one rank writes is named, saved, and answered as the configuration says.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/temporary_folder.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

using plumb::testing::TemporaryFolder;
using ::testing::HasSubstr;

constexpr int kBad = 13;
const std::vector<std::string> kSettings = {"model.blocks=8", "checkpoint.every=5",
                                            "training.micro_batch_sequences=1"};

class NonFinite : public ::testing::Test {
 protected:
  Outcome run(const std::vector<std::string>& more,
              const std::string& fault = fmt::format("nan {0} {0} 1", kBad),
              const std::string& name = "run") {
    std::vector<std::string> settings = kSettings;
    settings.insert(settings.end(), more.begin(), more.end());
    return faulty_run(4, config_, folder_.path() / name, fault, settings);
  }
  std::filesystem::path path(const std::string& name) const { return folder_.path() / "run" / name; }
  Json report(int step) {
    std::ifstream in(path(fmt::format("nan/step_{:08}.json", step)));
    EXPECT_TRUE(in);
    return Json::parse(in, nullptr, false);
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> list;
    for (const Json& event : read_records(path("events.jsonl"))) list.push_back(event.at("kind"));
    return list;
  }

  TemporaryFolder folder_;
  std::filesystem::path config_ = write_config(folder_.path());
};

TEST_F(NonFinite, LayerOpRankAndSequenceAreNamed) {
  const Outcome outcome = run({});
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  const Json json = report(kBad);
  const std::string summary = json.at("summary");
  for (const char* part : {"rank 1", "activation_forward", "blocks.7.ffn", "forward"})
    EXPECT_THAT(summary, HasSubstr(part));
  EXPECT_EQ(json.at("step"), kBad);
  EXPECT_EQ(json.at("first_sequence"), 12 * (kBad - 1));
  ASSERT_EQ(json.at("ranks").size(), 4u);
  for (const Json& rank : json.at("ranks")) {
    EXPECT_FALSE(rank.at("host").get<std::string>().empty());
    EXPECT_EQ(rank.count("first"), rank.at("rank") == 1 ? 1u : 0u) << rank;
  }
  const Json& first = json.at("ranks").at(1).at("first");
  EXPECT_EQ(first.at("pass"), "forward");
  EXPECT_EQ(first.at("part"), "blocks.7.ffn");
  EXPECT_EQ(first.at("layer"), 7);
  EXPECT_EQ(first.at("op"), "activation_forward");
  EXPECT_EQ(first.at("tensor"), "h");
  EXPECT_EQ(first.at("value"), "nan");
  EXPECT_EQ(first.at("bad_entries"), 1);
  EXPECT_EQ(first.at("row"), 3);
  EXPECT_EQ(first.at("column"), 5);
  EXPECT_EQ(first.at("micro_step"), 0);
  EXPECT_EQ(first.at("sequence"), 12 * (kBad - 1) + 3) << "rank 1 has the second three";
  EXPECT_EQ(first.at("token"), 3);
  for (const Json& event : read_records(path("events.jsonl"))) {
    if (event.at("kind") != "nonfinite") continue;
    EXPECT_EQ(event.at("step"), kBad);
    EXPECT_EQ(event.at("ranks"), Json::array({1}));
    EXPECT_EQ(event.at("first_sequence"), 12 * (kBad - 1) + 3);
  }
  EXPECT_THAT(kinds(), ::testing::Contains("nonfinite"));
  EXPECT_THAT(kinds(), ::testing::Contains("skip"));
  EXPECT_EQ(read_records(path("metrics.jsonl")).size(), 20u) << "the run went on";
}

TEST_F(NonFinite, BatchAndParametersAreThoseOfTheStep) {
  ASSERT_EQ(run({"checkpoint.every=1"}).status, 0);
  const std::filesystem::path saved = path(fmt::format("nan/step_{:08}", kBad));
  const Checkpoint before = load_checkpoint(checkpoint_folder(folder_.path() / "run", kBad - 1));
  const SafetensorsFile parameters(saved / "parameters.safetensors");
  ASSERT_EQ(parameters.names().size(), before.model.names().size());
  for (const std::string& name : parameters.names()) {
    const Tensor a = parameters.tensor(name), b = before.model.tensor(name, a.shape);
    EXPECT_EQ(std::memcmp(a.data, b.data, a.bytes()), 0) << name;
  }
  for (int rank = 0; rank < 4; ++rank) {
    const SafetensorsFile batch(saved / fmt::format("batch_rank_{:04}.safetensors", rank));
    EXPECT_EQ(batch.tensor("inputs").shape, (Shape{3, 16}));
    EXPECT_EQ(batch.metadata().at("first_sequence"), std::to_string(12 * (kBad - 1) + 3 * rank));
  }
}

// Looking at a step changes nothing in the run.
TEST_F(NonFinite, AReportLeavesNoTrace) {
  ASSERT_EQ(run({}).status, 0);
  ASSERT_EQ(run({"non_finite.reports=0"}, fmt::format("nan {0} {0} 1", kBad), "unseen").status, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "unseen" / "nan"));
  expect_same_logs(folder_.path() / "unseen", folder_.path() / "run");
  expect_same_checkpoint(folder_.path() / "unseen", folder_.path() / "run", 20);
}

TEST_F(NonFinite, TheRunStops) {
  const Outcome outcome = run({"non_finite.action=stop"});
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.output, HasSubstr(fmt::format("step {}: rank 1", kBad)));
  EXPECT_THAT(outcome.output, HasSubstr("non_finite.action"));
  EXPECT_EQ(read_records(path("metrics.jsonl")).size(), static_cast<std::size_t>(kBad));
  EXPECT_TRUE(std::filesystem::exists(checkpoint_folder(folder_.path() / "run", kBad))) << "nothing is lost";
}

TEST_F(NonFinite, TheRunGoesBack) {
  const Outcome outcome = run({"non_finite.action=roll_back"});
  ASSERT_NE(outcome.status, 0) << "the fault is there until its step is done";
  EXPECT_THAT(kinds(), ::testing::Contains("roll_back"));
}

// Three passes of rank 1 are a step; the bad one is not met again, because the data go on behind it.
TEST_F(NonFinite, TheRunGoesBackAndGoesOn) {
  const int pass = 3 * (kBad - 1) + 1;
  const Outcome outcome = run({"non_finite.action=roll_back"}, fmt::format("nan-passes {0} {0} 1", pass));
  ASSERT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_THAT(kinds(), ::testing::Contains("roll_back"));
  const std::vector<Json> records = read_records(path("metrics.jsonl"));
  ASSERT_EQ(records.size(), 20u);
  EXPECT_EQ(records[9].at("data_cursor"), 12 * 10);
  EXPECT_EQ(records[10].at("data_cursor"), 12 * (kBad + 1));
  for (const Json& record : records) EXPECT_FALSE(record.at("skipped").get<bool>()) << record;
}

// With other data the step is another one: what is known of the first stays.
TEST_F(NonFinite, AStepThatIsMetAgainHasAReportOfItsOwn) {
  const int first = 3 * (kBad - 1) + 1;
  // After it: the rest of its step, the pass of the report (one of three: the second time all are good), and
  // from step 11 on again.
  const int second = first + 2 + 3 + 3 * (kBad - 11) + 1;
  ASSERT_EQ(run({"non_finite.action=roll_back"}, fmt::format("nan-passes {} {} 1", first, second)).status, 0);
  EXPECT_EQ(report(kBad).at("first_sequence"), 12 * (kBad - 1));
  std::ifstream in(path(fmt::format("nan/step_{:08}_2.json", kBad)));
  ASSERT_TRUE(in);
  EXPECT_GT(Json::parse(in).at("first_sequence"), 12 * (kBad - 1));
}

TEST_F(NonFinite, ReportsOfAResumedRunCountOn) {
  const std::string fault = fmt::format("nan {} {} 1", kBad, kBad + 4);
  ASSERT_EQ(run({"non_finite.reports=2", "training.steps=15"}, fault).status, 0);
  EXPECT_TRUE(std::filesystem::exists(path(fmt::format("nan/step_{:08}.json", kBad + 1))));
  ASSERT_EQ(faulty_run(4, config_, folder_.path() / "run", fmt::format("nan {} {} 1", kBad + 4, kBad + 4),
                       {"model.blocks=8", "checkpoint.every=5", "training.micro_batch_sequences=1",
                        "non_finite.reports=2"},
                       /*resume=*/true)
                .status,
            0);
  EXPECT_FALSE(std::filesystem::exists(path(fmt::format("nan/step_{:08}.json", kBad + 4))));
}

TEST_F(NonFinite, ReportsHaveALimit) {
  ASSERT_EQ(run({"non_finite.reports=2"}, fmt::format("nan {} {} 1", kBad, kBad + 4)).status, 0);
  EXPECT_TRUE(std::filesystem::exists(path(fmt::format("nan/step_{:08}.json", kBad + 1))));
  EXPECT_FALSE(std::filesystem::exists(path(fmt::format("nan/step_{:08}.json", kBad + 2))));
}

}  // namespace
}  // namespace plumb::distributed

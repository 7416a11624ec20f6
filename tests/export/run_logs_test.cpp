#include "export/run_logs.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <set>

#include "export/netcdf.h"
#include "sample_run.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

using plumb::testing::input_error_of;
using plumb::testing::read_bytes;
using plumb::testing::TemporaryFolder;
using plumb::testing::write_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const LogField& field_of(const LogTable& table, const std::string& path) {
  for (const LogField& field : table.fields) {
    if (field.path == path) return field;
  }
  throw Error("no field " + path);
}

TEST(RunLogs, FieldsAreColumnsOverTheRecords) {
  const TemporaryFolder folder;
  test::write_sample_run(folder.path());
  const RunLogs logs = read_run_logs(folder.path());
  EXPECT_THAT(logs.metrics.steps, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(logs.stability.steps, ElementsAre(2, 4));
  EXPECT_THAT(field_of(logs.metrics, "tokens").values, ElementsAre(64, 128, 192, 256));
  EXPECT_EQ(field_of(logs.metrics, "loss").values[3], 0.1);
  EXPECT_THAT(field_of(logs.metrics, "skipped").values, ElementsAre(0, 0, 1, 0));

  const LogField& stream = field_of(logs.stability, "profiles.stream.rms");
  EXPECT_EQ(stream.dimension, "stream");
  EXPECT_EQ(stream.entries, 3);
  EXPECT_THAT(stream.values, ElementsAre(1, 2, 3, 1.5, 2.5, 3.5));
  EXPECT_EQ(stream.statistic->unit, "activation");
  const LogField& branch = field_of(logs.stability, "profiles.branch.rms");
  EXPECT_EQ(branch.dimension, "sublayer");
  EXPECT_THAT(branch.values, ElementsAre(7, 8, 7.5, 8.5));
  EXPECT_EQ(field_of(logs.stability, "tensors.grad_norm").dimension, "tensor");
  EXPECT_THAT(logs.names_of("sublayer"), ElementsAre("blocks.0.attention", "blocks.0.ffn"));
  EXPECT_THAT(logs.names_of("tensor"), ElementsAre("one", "two, \"quoted\""));
  EXPECT_TRUE(logs.names_of("rank").empty());
  EXPECT_EQ(logs.size_of("stream"), 3);
  EXPECT_EQ(logs.size_of("rank"), 2);

  ASSERT_EQ(logs.events.size(), 1u);
  EXPECT_EQ(logs.events[0].step, 4);
  EXPECT_EQ(logs.events[0].text, "a \"b\",\nc");
  EXPECT_EQ(logs.config, "device = \"cpu\"\n");
  EXPECT_EQ(logs.name(), folder.path().filename().string());
}

TEST(RunLogs, WhatIsAbsentIsToldFromWhatIsNotFinite) {
  const TemporaryFolder folder;
  test::write_sample_run(folder.path());
  const RunLogs logs = read_run_logs(folder.path());
  const double loss = field_of(logs.metrics, "loss").values[2];
  EXPECT_TRUE(std::isnan(loss));
  EXPECT_FALSE(is_absent(loss));
  const std::vector<double>& validation = field_of(logs.metrics, "val_loss").values;
  EXPECT_TRUE(is_absent(validation[0]) && is_absent(validation[2]));
  EXPECT_EQ(validation[3], 0.1 + 0.2);
  EXPECT_EQ(field_of(logs.stability, "profiles.stream.max_abs").values[1],
            std::numeric_limits<double>::infinity());
  const std::vector<double>& logit = field_of(logs.stability, "attention.max_logit").values;
  EXPECT_TRUE(is_absent(logit[0]) && is_absent(logit[1]) && is_absent(logit[3]));
  EXPECT_EQ(logit[2], 11);
  EXPECT_TRUE(is_absent(field_of(logs.stability, "gradient_bottom_top").values[1]));
  // Fewer ranks from step 4 on.
  const std::vector<double>& ranks = field_of(logs.ranks, "loss").values;
  EXPECT_EQ(ranks[1], 2.5);
  EXPECT_TRUE(is_absent(ranks[3]));
  EXPECT_THROW(field_of(logs.metrics, "lr"), Error) << "no record has it";
}

TEST(RunLogs, ATornLastLineIsNoRecord) {
  const TemporaryFolder folder;
  test::write_sample_run(folder.path());
  const std::string metrics = read_bytes(folder.path() / "metrics.jsonl");
  write_bytes(folder.path() / "metrics.jsonl", metrics.substr(0, metrics.size() - 10));
  EXPECT_THAT(read_run_logs(folder.path()).metrics.steps, ElementsAre(1, 2, 3));
}

TEST(RunLogs, ARunThatHasOnlyBegun) {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "metrics.jsonl", "");
  const RunLogs logs = read_run_logs(folder.path());
  EXPECT_TRUE(logs.metrics.steps.empty());
  EXPECT_TRUE(logs.metrics.fields.empty());
  EXPECT_TRUE(logs.config.empty());
}

TEST(RunLogs, FaultsGiveOneLine) {
  const TemporaryFolder folder;
  EXPECT_THAT(input_error_of([&] { read_run_logs(folder.path() / "absent"); }), HasSubstr("absent"));
  EXPECT_THAT(input_error_of([&] { read_run_logs(folder.path()); }), HasSubstr("metrics.jsonl is missing"));
  const auto message_with = [&](const char* name, const std::string& text) {
    test::write_sample_run(folder.path());
    write_bytes(folder.path() / name, text);
    const std::string message = input_error_of([&] { read_run_logs(folder.path()); });
    EXPECT_THAT(message, ::testing::Not(HasSubstr("\n")));
    return message;
  };
  EXPECT_THAT(message_with("metrics.jsonl", "{\"step\":1}\nnonsense\n{\"step\":2}\n"),
              HasSubstr("metrics.jsonl:2: not a JSON record"));
  EXPECT_THAT(message_with("metrics.jsonl", "{\"step\":1,\"loss\":[1,2]}\n"), HasSubstr("'loss' is a list"));
  EXPECT_THAT(message_with("stability.jsonl",
                           "{\"kind\":\"header\",\"sublayers\":[\"a\"]}\n"
                           "{\"step\":1,\"profiles\":{\"branch\":{\"rms\":[1,2]}}}\n"),
              HasSubstr("'profiles.branch.rms' has 2 entries, the first line names 1"));
}

// Whoever adds a row to the table of statistics sees here that its variable would get another one's name.
TEST(NetcdfName, IsUniqueForEveryFieldOfTheTable) {
  std::set<std::string> names;
  for (const Statistic& statistic : statistics()) {
    if (statistic.probe == Probe::Text || statistic.path == "step") continue;
    for (const std::string& path : expand_path(statistic.path)) {
      const LogField field{
          .statistic = &statistic, .path = path, .dimension = "", .entries = 1, .values = {}};
      EXPECT_TRUE(names.insert(netcdf_name(field)).second) << netcdf_name(field);
    }
  }
  EXPECT_TRUE(names.contains("loss"));
  EXPECT_TRUE(names.contains("ranks_loss"));
  EXPECT_TRUE(names.contains("profiles_stream_rms"));
  EXPECT_TRUE(names.contains("stability_gradient_bottom_top"));
}

}  // namespace
}  // namespace plumb

// Reading run folders: what the run log writes, and what a run leaves that is going on, was killed, or is
// damaged.
#include "report/run_data.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "checkpoint/temporary_folder.h"
#include "made_run.h"
#include "report/report_statistics.h"

namespace plumb {
namespace {

using plumb::testing::input_error_of;
using plumb::testing::TemporaryFolder;
using test::write_text;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Three steps of two ranks, records of stability.jsonl at the first and the last.
void write_run(const std::filesystem::path& folder) {
  write_text(folder / "metrics.jsonl",
             "{\"step\":1,\"loss\":3.5,\"skipped\":false}\n{\"step\":2,\"loss\":2.75,\"skipped\":true,"
             "\"val_loss\":2.5}\n{\"step\":3,\"loss\":2.25,\"skipped\":false}\n");
  write_text(
      folder / "stability.jsonl",
      R"({"kind":"header","tensors":["a","b","c"],"sublayers":["first","second"]})"
      "\n"
      R"({"step":1,"profiles":{"stream":{"entry_variance":[1,2,3]}},"tensors":{"update_ratio":[1,null,2]}})"
      "\n"
      R"({"step":3,"profiles":{"stream":{"entry_variance":[1,2.5,4]}},"tensors":{"update_ratio":[3,4,5]}})"
      "\n");
  write_text(folder / "ranks.jsonl", "{\"step\":2,\"loss\":[2,3],\"grad_norm\":[0.5,0.25]}\n");
  write_text(folder / "events.jsonl",
             R"({"step":3,"kind":"checkpoint","text":"saved <here>","time":"2026-01-01T00:00:00Z"})"
             "\n");
  write_text(folder / "config.toml",
             "device = \"cpu\"  # --set\n[run]\nname = \"sample\"  # a.toml:2\n[training]\n"
             "steps = 3  # default\n");
  write_text(folder / "manifest.json",
             R"({"world":2,"hosts":["one","two"],"compute_dtype":"fp32","seed":1})");
}

TEST(RunData, WhatTheFilesHold) {
  const TemporaryFolder folder;
  write_run(folder.path());
  const RunData run = read_run(folder.path());
  EXPECT_THAT(run.notes, ElementsAre());
  EXPECT_EQ(run.name, "sample");
  EXPECT_EQ(run.whole_setting("training.steps"), 3);
  EXPECT_EQ(run.setting("device"), "cpu");
  EXPECT_EQ(run.config[1].origin, "a.toml:2");
  EXPECT_THAT(run.hosts, ElementsAre("one", "two"));
  EXPECT_EQ(run.manifest.at("compute_dtype"), "fp32");
  EXPECT_THAT(run.tensors, ElementsAre("a", "b", "c"));
  EXPECT_THAT(run.sublayers, ElementsAre("first", "second"));
  EXPECT_THAT(run.metrics.steps, ElementsAre(1, 2, 3));
  EXPECT_THAT(*find_scalar(run, "loss"), ElementsAre(3.5, 2.75, 2.25));
  EXPECT_THAT(*find_scalar(run, "skipped"), ElementsAre(0, 1, 0));
  EXPECT_TRUE(std::isnan((*find_scalar(run, "val_loss"))[0]));
  EXPECT_EQ((*find_scalar(run, "val_loss"))[1], 2.5);
  EXPECT_TRUE(std::isnan((*find_scalar(run, "val_loss"))[2]));
  EXPECT_THAT(run.stability.steps, ElementsAre(1, 3));
  const RecordMatrix& variance = *find_array(run, "profiles.stream.entry_variance");
  EXPECT_EQ(variance.columns, 3U);
  EXPECT_THAT(variance.values, ElementsAre(1, 2, 3, 1, 2.5, 4));
  EXPECT_TRUE(std::isnan(find_array(run, "tensors.update_ratio")->row(0)[1]));
  EXPECT_THAT(run.ranks.steps, ElementsAre(2));
  EXPECT_THAT(find_array(run, "ranks.grad_norm")->values, ElementsAre(0.5, 0.25));
  ASSERT_EQ(run.events.size(), 1U);
  EXPECT_EQ(run.events[0].text, "saved <here>");
  EXPECT_TRUE(run.written_lately);
}

TEST(RunData, TheTableNamesFieldsAsTheLogDoes) {
  for (const ReportStatistic& statistic : report_statistics()) {
    EXPECT_EQ(find_statistic(statistic.id), &statistic) << statistic.id << " stands twice in the table";
    if (statistic.file.empty() || statistic.section == "bounds") continue;
    const Statistic* field = declared_field(statistic);
    ASSERT_NE(field, nullptr) << statistic.id << " is in no log";
    EXPECT_EQ(statistic.unit, field->unit) << statistic.id;
    EXPECT_FALSE(field->definition.empty()) << statistic.id;
  }
  for (const ReportStatistic& statistic : report_statistics()) {
    EXPECT_FALSE(written_by(statistic).empty()) << statistic.id;
  }
  EXPECT_EQ(written_by(*find_statistic("attention.max_logit")), "statistics.attention");
  EXPECT_EQ(written_by(*find_statistic("profiles.branch.rms")), "log.stability_every");
}

TEST(RunData, EveryStatisticThatIsDrawnIsExplained) {
  for (const ReportStatistic& statistic : report_statistics()) {
    EXPECT_FALSE(statistic.title.empty()) << statistic.id;
    if (statistic.section.empty()) continue;
    EXPECT_FALSE(statistic.source.empty()) << statistic.id;
    ASSERT_FALSE(statistic.sentence.empty()) << statistic.id;
    EXPECT_EQ(statistic.sentence.back(), '.') << statistic.id;
    EXPECT_EQ(statistic.sentence.find(". "), std::string_view::npos) << statistic.id << ": one sentence";
  }
}

TEST(RunData, ATornLastLineIsLeftOutAndNoted) {
  const TemporaryFolder folder;
  write_run(folder.path());
  const std::string whole = plumb::testing::read_bytes(folder.path() / "metrics.jsonl");
  for (const std::size_t cut : {whole.size() - 1, whole.size() - 20}) {
    write_text(folder.path() / "metrics.jsonl", whole.substr(0, cut));
    const RunData run = read_run(folder.path());
    EXPECT_THAT(run.metrics.steps, ElementsAre(1, 2));
    EXPECT_THAT(run.notes, ElementsAre(HasSubstr("metrics.jsonl: the last line is torn")));
  }
}

TEST(RunData, ADamagedLineAndAStepThatDoesNotRise) {
  const TemporaryFolder folder;
  write_text(
      folder.path() / "metrics.jsonl",
      "{\"step\":1,\"loss\":3}\n\x01\x02garbage\n{\"step\":3,\"loss\":2}\n{\"step\":2,\"loss\":9}\n[1]\n"
      "{\"loss\":4}\n{\"step\":\"x\",\"loss\":4}\n{\"step\":4,\"loss\":\"text\",\"profiles\":7}\n");
  const RunData run = read_run(folder.path());
  EXPECT_THAT(run.metrics.steps, ElementsAre(1, 3, 4));
  EXPECT_EQ((*find_scalar(run, "loss"))[1], 2);
  EXPECT_TRUE(std::isnan((*find_scalar(run, "loss"))[2]));
  EXPECT_THAT(run.notes,
              ::testing::Contains("metrics.jsonl: 2 damaged line(s) left out, the first is line 2"));
  EXPECT_THAT(run.notes, ::testing::Contains(HasSubstr("3 record(s) left out whose step does not rise")));
  EXPECT_THAT(run.notes, ::testing::Contains("config.toml is missing"));
  EXPECT_THAT(run.notes, ::testing::Contains(HasSubstr("manifest.json is missing")));
  EXPECT_THAT(run.notes, ::testing::Contains("stability.jsonl is missing"));
  EXPECT_EQ(run.name, folder.path().filename().string());
}

TEST(RunData, RowsOfAnotherLengthAreLeftOut) {
  const TemporaryFolder folder;
  write_text(folder.path() / "metrics.jsonl", "");
  write_text(folder.path() / "stability.jsonl",
             "{\"step\":1}\n{\"step\":2,\"profiles\":{\"stream\":{\"rms\":[1,2],\"mean_abs\":[1,null]}}}\n"
             "{\"step\":3,\"profiles\":{\"stream\":{\"mean_abs\":[1,2,3]}}}\n"
             "{\"step\":4,\"profiles\":{\"stream\":{\"mean_abs\":[5,6]}}}\n");
  const RunData run = read_run(folder.path());
  const RecordMatrix& matrix = *find_array(run, "profiles.stream.mean_abs");
  ASSERT_EQ(matrix.columns, 2U);
  ASSERT_EQ(matrix.rows(), 4U);
  EXPECT_TRUE(std::isnan(matrix.row(0)[0]));
  EXPECT_EQ(matrix.row(1)[0], 1);
  EXPECT_TRUE(std::isnan(matrix.row(1)[1]));
  EXPECT_TRUE(std::isnan(matrix.row(2)[1]));
  EXPECT_EQ(matrix.row(3)[1], 6);
}

TEST(RunData, ValuesThatWereNotFiniteAreKnown) {
  const TemporaryFolder folder;
  write_text(
      folder.path() / "metrics.jsonl",
      R"({"step":1,"loss":2,"grad_norm":null,"skipped":true,"nonfinite":[{"path":"grad_norm","kind":"inf"}]})"
      "\n");
  const RunData run = read_run(folder.path());
  ASSERT_EQ(run.nonfinite.size(), 1U);
  EXPECT_EQ(run.nonfinite[0].path, "grad_norm");
  EXPECT_EQ(run.nonfinite[0].kind, "inf");
  EXPECT_EQ(run.nonfinite[0].step, 1);
}

TEST(RunData, AFolderThatIsNoRunIsRefusedInOneLine) {
  const TemporaryFolder folder;
  const std::string missing = (folder.path() / "nothing").string();
  for (const std::string& path : {missing, folder.path().string()}) {
    EXPECT_THAT(
        input_error_of([&] { read_run(path); }),
        ::testing::AllOf(HasSubstr(path), HasSubstr("no metrics.jsonl"), ::testing::Not(HasSubstr("\n"))));
  }
}

}  // namespace
}  // namespace plumb

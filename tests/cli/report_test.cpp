// `plumb report` from outside, on a run that `plumb train` made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "report/report_statistics.h"
#include "tiny_run.h"

namespace plumb::test {
namespace {
using nlohmann::json;
using ::testing::HasSubstr;

json data_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  const std::string mark = "id=\"report-data\">";
  const std::size_t begin = page.find(mark) + mark.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

std::vector<json> records_of(const std::string& file) {
  std::vector<json> records;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) records.push_back(json::parse(line));
  return records;
}

TEST(Report, APageOfARealRunHoldsWhatTheLogHolds) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  const Outcome outcome = run_plumb(folder, 1, {"report", folder / "run"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("report of 1 run(s) written to " + (folder / "run/report.html")));
  const json data = data_of(folder / "run/report.html");
  const json& run = data["runs"][0];
  const std::vector<json> metrics = records_of(folder / "run/metrics.jsonl");
  const std::vector<json> stability = records_of(folder / "run/stability.jsonl");
  EXPECT_EQ(run["notes"], json::array());
  EXPECT_EQ(run["state"], "finished: 6 steps");
  ASSERT_EQ(run["curves"]["values"]["loss"]["mean"].size(), metrics.size());
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    EXPECT_NEAR(run["curves"]["values"]["loss"]["mean"][i].get<double>(), metrics[i]["loss"].get<double>(),
                1e-4);
  }
  const json& profile = run["profiles"]["profiles.stream.entry_variance"];
  ASSERT_EQ(profile["rows"].size(), stability.size() - 1);  // less the header
  const json& last = stability.back()["profiles"]["stream"]["entry_variance"];
  ASSERT_EQ(profile["rows"].back().size(), last.size());
  for (std::size_t k = 0; k < last.size(); ++k) {
    EXPECT_NEAR(profile["rows"].back()[k].get<double>() / last[k].get<double>(), 1, 1e-4);
  }
  EXPECT_EQ(run["sublayers"].size(), 4U);
}

/// What the table of the report says is in the log is there; the reverse of each would leave an empty
/// section.
TEST(Report, EveryDeclaredFieldOfTheTableIsReadFromARealLog) {
  const Folder folder;
  write_tiny_run(folder);
  // Distances from the recent past begin at step 65.
  const Outcome trained =
      train_tiny(folder, 1, {"--set", "training.steps=70", "--set", "sharpness.every=35"});
  ASSERT_EQ(trained.status, 0) << trained.text();
  ASSERT_EQ(run_plumb(folder, 1, {"report", folder / "run"}).status, 0);
  const json run = data_of(folder / "run/report.html")["runs"][0];
  int found = 0;
  for (const ReportStatistic& statistic : report_statistics()) {
    const std::string id(statistic.id);
    const bool drawn = !statistic.section.empty() && !statistic.file.empty();
    // Not of every run: several ranks, and statistics that are off by default.
    if (!drawn || statistic.shape == StatisticShape::Rank || statistic.section == "noise") continue;
    if (declared_field(statistic) == nullptr || statistic.shape == StatisticShape::Tensor) continue;
    ++found;
    EXPECT_TRUE(run["curves"]["values"].contains(id) || run["profiles"].contains(id)) << id;
  }
  EXPECT_GE(found, 12);
}

TEST(Report, SeveralRunsGoIntoOneFile) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  std::filesystem::copy(folder / "run", folder / "copy", std::filesystem::copy_options::recursive);
  const Outcome outcome =
      run_plumb(folder, 1, {"report", folder / "run", folder / "copy", "--output", folder / "both.html"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  const json data = data_of(folder / "both.html");
  EXPECT_EQ(data["runs"].size(), 2U);
  EXPECT_NE(data["runs"][0]["name"], data["runs"][1]["name"]);
  EXPECT_EQ(data["differences"], json::array());
}

TEST(Report, WrongLinesGiveOneLineAndStatusTwo) {
  const Folder folder;
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{"report"},
                                                    {"report", folder / "nothing"},
                                                    {"report", folder.path().string()}}) {
    const Outcome outcome = run_plumb(folder, 1, arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    EXPECT_EQ(outcome.plumb_lines().size(), 1U) << outcome.text();
    EXPECT_EQ(outcome.out, "");
  }
}

}  // namespace
}  // namespace plumb::test

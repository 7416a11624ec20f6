// The page as text: whole HTML, nothing from a network, and data that scripts can read.
#include "report/report_page.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "made_run.h"
#include "report/report_document.h"

namespace plumb {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

RunData nasty_run() {
  RunData run = test::calm_run(200, 12);
  run.name = "</script><b>&\"x\"";
  run.events = {{3, "stop", "bytes \xff and <!-- --> </script>", "now"}};
  run.config = {{"training.steps", "200", "default"}, {"data.train", "\"<a>\"", "--set"}};
  run.notes = {"a note"};
  return run;
}

std::string document_of(std::vector<RunData> runs, ReportOptions options = {}) {
  options.generator = "plumb test";
  return report_document(std::move(runs), options);
}

std::string page_of(std::vector<RunData> runs) {
  const std::string title = runs.front().name;
  return report_page(title, document_of(std::move(runs)));
}

/// A tag outside of scripts and styles.
struct Tag {
  std::string name;
  bool closing = false;
  std::map<std::string, std::string> attributes;
};

std::map<std::string, std::string> attributes_of(const std::string& text) {
  std::map<std::string, std::string> attributes;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \n", at)) != text.npos) {
    const std::size_t end = text.find_first_of("= \n", at);
    const std::string name = text.substr(at, end - at);
    if (end == text.npos || text[end] != '=') {
      attributes[name] = "";
      at = end;
      continue;
    }
    const std::size_t close = text.find('"', end + 2);
    attributes[name] = text.substr(end + 2, close - end - 2);
    at = close + 1;
  }
  return attributes;
}

/// Every tag; what stands inside <script> and <style> is skipped as a browser does.
std::vector<Tag> tags_of(const std::string& page) {
  std::vector<Tag> tags;
  std::size_t at = 0;
  while ((at = page.find('<', at)) != page.npos) {
    if (page.compare(at, 2, "<!") == 0) {
      at = page.find('>', at);
      continue;
    }
    const std::size_t close = page.find('>', at);
    Tag tag;
    tag.closing = page[at + 1] == '/';
    const std::size_t begin = at + (tag.closing ? 2 : 1), end = page.find_first_of(" \n>", begin);
    tag.name = page.substr(begin, end - begin);
    tag.attributes = attributes_of(page.substr(end, close - end));
    tags.push_back(tag);
    at = close + 1;
    if (!tag.closing && (tag.name == "script" || tag.name == "style"))
      at = page.find("</" + tag.name + ">", at);
  }
  return tags;
}

TEST(ReportPage, EveryElementIsClosedInOrderAndIdsAreUnique) {
  const std::set<std::string> empty = {"meta", "br", "img", "input", "link", "hr"};
  std::vector<std::string> open;
  std::set<std::string> ids;
  for (const Tag& tag : tags_of(page_of({nasty_run()}))) {
    if (const auto id = tag.attributes.find("id"); id != tag.attributes.end()) {
      EXPECT_TRUE(ids.insert(id->second).second) << id->second;
    }
    if (empty.contains(tag.name)) continue;
    if (!tag.closing) {
      open.push_back(tag.name);
      continue;
    }
    ASSERT_FALSE(open.empty());
    EXPECT_EQ(open.back(), tag.name);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

TEST(ReportPage, HasWhatAReaderAndABrowserNeed) {
  const std::string page = page_of({nasty_run()});
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  for (const char* part :
       {"<html lang=\"en\">", "<meta charset=\"utf-8\">", "<main", "<nav aria-label", "<h1>",
        "Skip to the summary", "<noscript>", "prefers-color-scheme", "@media print"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  EXPECT_THAT(page, HasSubstr("<title>&lt;/script&gt;&lt;b&gt;&amp;&quot;x&quot;: Plumb report</title>"));
  EXPECT_THAT(page, Not(HasSubstr("{{"))) << "a place that nothing filled";
}

TEST(ReportPage, NothingComesFromANetwork) {
  const std::string page = page_of({nasty_run()});
  EXPECT_THAT(
      page, HasSubstr("content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                      "img-src data:\""));
  for (const Tag& tag : tags_of(page)) {
    EXPECT_NE(tag.name, "link");
    EXPECT_NE(tag.name, "iframe");
    for (const auto& [name, value] : tag.attributes) {
      if (name == "src" || name == "href" || name == "action" || name == "srcset") {
        EXPECT_TRUE(value.starts_with("#")) << tag.name << " " << name << "=" << value;
      }
    }
  }
  for (const char* part : {"sourceMappingURL", "importScripts", "integrity="})
    EXPECT_THAT(page, Not(HasSubstr(part)));
  // Vega itself says "url(#...)" of its gradients.
  for (const char* part : {"@import", "url("})
    EXPECT_THAT(std::string(page_part("page.css")), Not(HasSubstr(part)));
}

/// The one JSON element, read as a browser would.
json data_in(const std::string& page) {
  const std::string mark = "<script type=\"application/json\" id=\"report-data\">";
  const std::size_t begin = page.find(mark) + mark.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

TEST(ReportPage, NamesAndTextsDoNotEndTheData) {
  const json data = data_in(page_of({nasty_run()}));
  EXPECT_EQ(data["runs"][0]["name"], "</script><b>&\"x\"");
  EXPECT_EQ(data["runs"][0]["events"]["rows"][0][2], "bytes \xef\xbf\xbd and <!-- --> </script>");
  EXPECT_EQ(data["runs"][0]["chosen_settings"][0][0], "data.train");
  EXPECT_EQ(data["runs"][0]["notes"][0], "a note");
}

TEST(ReportPage, CurvesKeepTheirExtremesWhenDownSampled) {
  RunData run = test::calm_run(5000, 12);
  run.metrics.scalars["loss"][3210] = 77;
  const json curve = json::parse(document_of({run}, {.curve_points = 100}))["runs"][0]["curves"];
  EXPECT_EQ(curve["records"], 5000);
  ASSERT_EQ(curve["first"].size(), 100U);
  EXPECT_EQ(curve["first"][0], 1);
  EXPECT_EQ(curve["last"][99], 5000);
  const json& loss = curve["values"]["loss"];
  for (const char* part : {"mean", "min", "max", "smooth"}) EXPECT_EQ(loss[part].size(), 100U);
  EXPECT_EQ(loss["max"][64], 77);
  EXPECT_LT(loss["smooth"][64].get<double>(), 2);
}

TEST(ReportPage, ShortRunsAreKeptExactly) {
  const json run = json::parse(document_of({test::calm_run(50, 12)}))["runs"][0];
  EXPECT_EQ(run["curves"]["values"]["loss"]["mean"].size(), 50U);
  EXPECT_FALSE(run["curves"]["values"]["loss"].contains("min"));
  EXPECT_EQ(run["profile_steps"], json({1, 25, 50}));
  EXPECT_EQ(run["profiles"]["profiles.stream.entry_variance"]["rows"].size(), 3U);
  EXPECT_EQ(run["maps"]["profiles.stream.entry_variance"]["columns"], 13);
  EXPECT_EQ(run["growth"]["step"], json({1, 25, 50}));
}

TEST(ReportPage, AStatisticOfFewerRecordsHasStepsOfItsOwn) {
  RunData run = test::calm_run(50, 2);
  const float nan = std::nanf("");
  run.stability.arrays["attention.max_logit"] = test::matrix(2, {nan, nan, 3, nan, nan, nan});
  const json data = json::parse(document_of({run}))["runs"][0];
  EXPECT_EQ(data["profiles"]["attention.max_logit"], json({{"steps", {25}}, {"rows", {{3, nullptr}}}}));
  EXPECT_EQ(data["maps"]["attention.max_logit"]["first"], json({25}));
  run.stability.arrays["attention.max_logit"] = test::matrix(2, {nan, nan, nan, nan, nan, nan});
  EXPECT_FALSE(json::parse(document_of({run}))["runs"][0]["profiles"].contains("attention.max_logit"));
}

TEST(ReportPage, RunsOfOneNameAreToldApart) {
  const json data = json::parse(document_of({test::calm_run(20), test::calm_run(30), test::calm_run(40)}));
  EXPECT_EQ(data["runs"][0]["name"], "calm (1)");
  EXPECT_EQ(data["runs"][2]["name"], "calm (3)");
  ASSERT_EQ(data["differences"].size(), 1U);
  EXPECT_EQ(data["differences"][0]["key"], "training.steps");
}

TEST(ReportPage, ARunWithoutARecordStillMakesAPage) {
  RunData run;
  run.name = "empty";
  EXPECT_EQ(data_in(page_of({run}))["runs"][0]["state"], "no step logged yet");
}

TEST(ReportPage, ManyDeepRunsStaySmall) {
  std::vector<RunData> runs;
  for (int i = 0; i < 9; ++i) {
    RunData run = test::calm_run(100, 192);
    RecordMatrix wide{.columns = 193, .values = std::vector<float>(193 * 500, 1.5F)};
    run.stability.steps.clear();
    for (int record = 0; record < 500; ++record) run.stability.steps.push_back(record + 1);
    for (const char* id :
         {"profiles.stream.entry_variance", "profiles.stream.data_variance", "profiles.stream.mean_abs",
          "profiles.stream.max_abs", "profiles.stream.gradient_norm", "profiles.branch.rms"}) {
      run.stability.arrays[id] = wide;
    }
    runs.push_back(run);
  }
  EXPECT_LT(document_of(runs).size(), 15'000'000U);
}

TEST(ReportPage, RanksAreLeftOutForOneAndBandedForMany) {
  RunData run = test::calm_run(40, 12);
  run.ranks.steps = {10, 20};
  run.ranks.arrays["ranks.grad_norm"] = test::matrix(1, {1, 2});
  EXPECT_EQ(json::parse(document_of({run}))["runs"][0]["ranks"], json({{"world", 1}}));
  RecordMatrix many{.columns = 100, .values = std::vector<float>(200, 1)};
  many.values[150] = 3;
  run.ranks.arrays["ranks.grad_norm"] = many;
  const json ranks = json::parse(document_of({run}))["runs"][0]["ranks"];
  EXPECT_EQ(ranks["world"], 100);
  EXPECT_EQ(ranks["drawn"].size(), 8U);
  EXPECT_THAT(ranks["drawn"].get<std::vector<int>>(), ::testing::Contains(50)) << "the one that differs";
  EXPECT_EQ(ranks["values"]["ranks.grad_norm"]["band"]["max"], json({1, 3}));
  EXPECT_EQ(ranks["table"].size(), 64U);
}

}  // namespace
}  // namespace plumb

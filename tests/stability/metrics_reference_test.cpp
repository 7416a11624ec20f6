// The table of fields against what the run log writes, and docs/metrics.md against the table.
#include "stability/metrics_reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/temporary_folder.h"
#include "sample_record.h"
#include "stability/run_log.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

using Fields = std::map<std::string, std::set<std::string>>;  // file -> names

Fields declared_fields() {
  Fields fields;
  for (const Statistic& field : statistics()) {
    for (const std::string& name : expand_path(field.path)) {
      EXPECT_TRUE(fields[std::string(field.file)].insert(name).second) << name << " is declared twice";
    }
  }
  return fields;
}

void add_names(const nlohmann::json& json, const std::string& prefix, std::set<std::string>& names) {
  for (const auto& [key, value] : json.items()) {
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (value.is_object()) {
      add_names(value, name, names);
    } else {
      names.insert(name);
    }
  }
}

TEST(MetricsReference, DeclaresExactlyWhatIsWritten) {
  const plumb::testing::TemporaryFolder folder;
  {
    RunLog log(folder.path(), {.layout = test::sample_layout(2),
                               .tensor_names = {"a", "b", "c"},
                               .norm_names = {"norm"},
                               .sublayer_names = {"first", "second"},
                               .ranks_every = 1});
    StepRecord record = test::sample_record(1, 2);
    record.set("val_loss", 2);
    record.set("val_bits_per_byte", 2.9);
    // So that `nonfinite` is there.
    test::set(record, log_file::kMetrics, "loss", 0, std::nan(""));
    test::set(record, log_file::kRanks, "loss", 0, std::nan(""));
    test::set(record, log_file::kStability, "profiles.stream.rms", 0, std::nan(""));
    log.append(record);
    log.event("rank_gradient", 1, "text",
              {.ranks = {1}, .hosts = {"here"}, .tensor = "a", .first_sequence = 3, .sequences = 2});
    log.close();
  }
  Fields written;
  for (const char* file : {"metrics.jsonl", "stability.jsonl", "ranks.jsonl", "events.jsonl"}) {
    std::ifstream in(folder.path() / file);
    for (std::string line; std::getline(in, line);) {
      const auto record = nlohmann::json::parse(line);
      const bool header = record.value("kind", "") == "header";
      add_names(record, "", written[std::string(file) + (header ? " (first line)" : "")]);
    }
  }
  EXPECT_EQ(written, declared_fields());
}

TEST(MetricsReference, EveryFieldIsDefined) {
  for (const Statistic& field : statistics()) {
    EXPECT_FALSE(field.definition.empty() || field.unit.empty() || shape_text(field).empty() ||
                 field.over_rows.empty() || field.over_ranks.empty() || field.source.empty())
        << field.path;
  }
}

TEST(MetricsReference, EveryFieldIsListedForPrograms) {
  Fields listed;
  const auto list = nlohmann::json::parse(metrics_reference_json());
  for (const auto& entry : list) {
    listed[entry.at("file")].insert(std::string(entry.at("path")));
    if (entry.at("path") == "profiles.branch.rms") {
      EXPECT_EQ(entry.at("dimensions"), nlohmann::json{"sublayer"});
      EXPECT_EQ(entry.at("unit"), "activation");
    }
  }
  EXPECT_EQ(listed, declared_fields());
}

TEST(MetricsReference, DocumentIsUpToDate) {
  const std::string document = plumb::testing::read_bytes(PLUMB_SOURCE_DIR "/docs/metrics.md");
  EXPECT_EQ(document, metrics_reference_markdown())
      << "write it anew: cmake --build <build folder> --target metrics_reference";
}

}  // namespace
}  // namespace plumb

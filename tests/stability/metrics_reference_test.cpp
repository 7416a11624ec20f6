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

namespace plumb {
namespace {

using Fields = std::map<std::string, std::set<std::string>>;  // file -> names

/// "a.{b,c}.d" -> "a.b.d", "a.c.d".
std::vector<std::string> expand(const std::string& name) {
  const auto open = name.find('{'), comma = name.find(','), close = name.find('}');
  if (open == std::string::npos) return {name};
  const std::string head = name.substr(0, open), tail = name.substr(close + 1);
  return {head + name.substr(open + 1, comma - open - 1) + tail,
          head + name.substr(comma + 1, close - comma - 1) + tail};
}

Fields declared_fields() {
  Fields fields;
  for (const MetricField& field : metric_fields()) {
    for (const std::string& name : expand(std::string(field.name))) {
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
    RunLog log(folder.path(), {.shape = test::kSampleShape,
                               .world = 2,
                               .tensor_names = {"a", "b", "c"},
                               .sublayer_names = {"first", "second"},
                               .ranks_every = 1});
    StepRecord record = test::sample_record(1, 2);
    record.validation_loss = 2;
    record.validation_bits_per_byte = 2.9;
    record.loss = record.rank_loss[0] = record.stream.rms[0] = std::nan("");  // so that `nonfinite` is there
    log.append(record);
    log.event("resume", 1, "text");
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
  for (const MetricField& field : metric_fields()) {
    EXPECT_FALSE(field.definition.empty() || field.unit.empty() || field.shape.empty() ||
                 field.ranks.empty() || field.source.empty())
        << field.name;
  }
}

TEST(MetricsReference, DocumentIsUpToDate) {
  const std::string document = plumb::testing::read_bytes(PLUMB_SOURCE_DIR "/docs/metrics.md");
  EXPECT_EQ(document, metrics_reference_markdown())
      << "write it anew: cmake --build <build folder> --target metrics_reference";
}

}  // namespace
}  // namespace plumb

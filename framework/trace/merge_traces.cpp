#include "trace/merge_traces.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "trace/chrome_trace.h"

namespace plumb {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void fail_torn(const std::filesystem::path& path) {
  fail_input("'{}' is no whole part of a trace: a rank of `plumb train --trace` writes it when the run ends",
             path.string());
}

/// What a part says of itself: its first line, closed.
Json head_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  Json json = Json::parse(line + "]}", nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.contains("otherData") || !json["otherData"].contains("trace")) {
    fail_torn(path);
  }
  return json["otherData"];
}

/// Its events, without a comma after the last.
void copy_events(const std::filesystem::path& path, std::ofstream& out) {
  std::ifstream file(path);
  std::string line, held;
  std::getline(file, line);
  bool whole = false;
  for (bool first = true; std::getline(file, line); first = false) {
    if (line == "]}") {
      whole = true;
      break;
    }
    if (!first) out << held << "\n";
    held = line;
  }
  if (!whole) fail_torn(path);
  out << held;
}

}  // namespace

MergedTrace merge_traces(const std::filesystem::path& run) {
  const auto exists = [&run](int rank) { return std::filesystem::exists(trace_part_path(run, rank)); };
  if (!exists(0)) {
    fail_input("there is no trace in '{}': '{}' is missing; `plumb train --trace` makes one", run.string(),
               trace_part_path(run, 0).string());
  }
  MergedTrace merged{.path = run / "trace.json", .world = head_of(trace_part_path(run, 0)).value("world", 1)};
  std::vector<int> ranks;
  Json heads = Json::array();
  for (int rank = 0; rank < merged.world; ++rank) {
    if (!exists(rank)) {
      merged.missing.push_back(rank);
      continue;
    }
    ranks.push_back(rank);
    heads.push_back(head_of(trace_part_path(run, rank)));
    if (heads.back().at("trace") != heads.front().at("trace")) {
      fail_input("'{}' is of another trace than '{}': remove '{}' and trace again",
                 trace_part_path(run, rank).string(), trace_part_path(run, 0).string(),
                 (run / "trace").string());
    }
  }
  std::ofstream out(merged.path, std::ios::binary);
  out << fmt::format("{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"ranks\":{}}},\"traceEvents\":[\n",
                     heads.dump());
  for (const int rank : ranks) {
    if (rank != ranks.front()) out << ",\n";
    copy_events(trace_part_path(run, rank), out);
  }
  out << "\n]}\n";
  out.close();
  if (!out) fail_input("cannot write '{}': {}", merged.path.string(), std::strerror(errno));
  return merged;
}

}  // namespace plumb

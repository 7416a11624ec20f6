// A file of Chrome's trace events as a test reads it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace plumb::test {

using TraceJson = nlohmann::json;

inline std::vector<TraceJson> events_where(const TraceJson& trace, const std::string& key,
                                           const TraceJson& value) {
  std::vector<TraceJson> list;
  for (const TraceJson& event : trace.at("traceEvents"))
    if (event.contains(key) && event.at(key) == value) list.push_back(event);
  return list;
}

/// How many spans of one process have each name.
inline std::map<std::string, int> span_counts(const TraceJson& trace, int process) {
  std::map<std::string, int> counts;
  for (const TraceJson& event : events_where(trace, "pid", process))
    if (event.at("ph") == "X") ++counts[event.at("name").get<std::string>()];
  return counts;
}

/// The spans of a thread begin and end one within the other (to the nanosecond that times are rounded to),
/// and those within one are no longer than it together. Returns how many there are.
inline int expect_spans_nest(const TraceJson& trace) {
  struct Open {
    double end, inside;
    std::string name;
  };
  std::map<std::pair<int, int>, std::vector<Open>> threads;
  constexpr double kRounding = 2e-3;
  int spans = 0;
  for (const TraceJson& event : events_where(trace, "ph", "X")) {
    ++spans;
    std::vector<Open>& open = threads[{event.at("pid").get<int>(), event.at("tid").get<int>()}];
    const double begin = event.at("ts").get<double>(), length = event.at("dur").get<double>();
    const std::string name = event.at("name").get<std::string>();
    EXPECT_GE(length, 0) << name;
    while (!open.empty() && open.back().end <= begin + kRounding) open.pop_back();
    if (!open.empty()) {
      EXPECT_LE(begin + length, open.back().end + kRounding) << name << " in " << open.back().name;
      open.back().inside -= length;
      EXPECT_GE(open.back().inside, -1e-3 * spans) << "within " << open.back().name;
    }
    open.push_back({begin + length, length, name});
  }
  return spans;
}

}  // namespace plumb::test

// A StepRecord as lines of the run log. Field names, order and meaning: metrics_reference.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "stability/step_record.h"

namespace plumb {

/// Each is one line with its line feed. Numbers are the shortest text that reads back to the same float64.
std::string metrics_line(const StepRecord& record);
std::string stability_line(const StepRecord& record);
std::string ranks_line(const StepRecord& record);
/// First line of stability.jsonl: the names that its arrays are indexed by.
std::string stability_header(const std::vector<std::string>& tensors,
                             const std::vector<std::string>& sublayers);
/// time: UTC, ISO 8601.
std::string event_line(std::string_view kind, std::int64_t step, std::string_view text,
                       std::string_view time);

}  // namespace plumb

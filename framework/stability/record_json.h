// A StepRecord as lines of the run log. Field names, order and meaning: statistics_table.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "stability/event_subject.h"
#include "stability/step_record.h"

namespace plumb {

/// The fields of a file (log_file) as one line with its line feed. Numbers are the shortest text that reads
/// back to the same float64. A field of which nothing exists in this step is left out.
std::string record_line(const StepRecord& record, std::string_view file);
/// First line of stability.jsonl: the names that its arrays are indexed by.
std::string stability_header(const std::vector<std::string>& tensors, const std::vector<std::string>& norms,
                             const std::vector<std::string>& sublayers);
/// time: UTC, ISO 8601.
std::string event_line(std::string_view kind, std::int64_t step, std::string_view text, std::string_view time,
                       const EventSubject& subject = {});

}  // namespace plumb

// CSV (RFC 4180) of a run's logs, one tidy table per log.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.h"
#include "export/run_logs.h"

namespace plumb {

/// One field: in quotes, with quotes doubled, where it holds a comma, a quote or a line break.
std::string csv_field(std::string_view text);

/// Writes into `folder`, which is created:
///   metrics.csv             a row per step, a column per field
///   stability_profiles.csv  long form: step, field, dimension, index, name, value; all of stability.jsonl
///   but
///                           what is per tensor
///   tensors.csv             a row per step and tensor, a column per field
///   ranks.csv               a row per step and rank, a column per field
///   events.csv              step, kind, text, time
///   fields.csv              what the columns mean: file, field, definition, unit, source
/// Lines end in CR LF. A value that does not exist is an empty field; nan, inf and -inf are written as such.
/// Numbers are the shortest text that reads back to the same float64.
void write_csv(const RunLogs& logs, const std::filesystem::path& folder);

}  // namespace plumb

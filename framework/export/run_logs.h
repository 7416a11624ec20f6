// RunLogs: the logs of a run folder as columns of numbers, labelled by the table of statistics.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "stability/statistic.h"

namespace plumb {

/// One field over the records of its file.
struct LogField {
  const Statistic* statistic = nullptr;
  std::string path;          ///< without braces: "profiles.stream.rms"
  std::string dimension;     ///< of metrics_reference.h; empty of one number per record
  std::int64_t entries = 1;  ///< of a record
  /// (records, entries). kAbsent where a record has no value; what was not finite is so again.
  std::vector<double> values;
};

/// The records of one file, in its order.
struct LogTable {
  std::string_view file;  ///< log_file
  std::vector<std::int64_t> steps;
  /// Those that some record has, in the order of the table of statistics; without "step".
  std::vector<LogField> fields;
};

struct LoggedEvent {
  std::int64_t step = 0;
  std::string kind, text, time;
};

struct RunLogs {
  std::filesystem::path folder;
  LogTable metrics, stability, ranks;
  std::vector<LoggedEvent> events;
  /// By what they name, in the plural: "tensors", "sublayers".
  std::map<std::string, std::vector<std::string>> names;
  std::string config;    ///< config.toml; empty when it is missing
  std::string manifest;  ///< manifest.json; empty when it is missing

  /// Of the folder.
  std::string name() const;
  std::vector<const LogTable*> tables() const { return {&metrics, &stability, &ranks}; }
  /// Names of the entries of a dimension; empty where they have none.
  const std::vector<std::string>& names_of(const std::string& dimension) const;
  /// Entries along a dimension; 0 when no field has it.
  std::int64_t size_of(const std::string& dimension) const;
};

/// metrics.jsonl alone; a missing file has no records.
LogTable read_metrics(const std::filesystem::path& folder);

/// Reads a run that is finished, in progress or killed: a torn last line is left out, a missing file is one
/// without records. InputError of one line when the folder holds no log of a run, or when a line before the
/// last is no record of this version.
RunLogs read_run_logs(const std::filesystem::path& folder);

}  // namespace plumb

// RunData: what a run directory holds, as columns.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

/// Rows of equal length, one per record; NaN where a record has no number.
struct RecordMatrix {
  std::size_t columns = 0;
  std::vector<float> values;  ///< (rows, columns)

  std::size_t rows() const { return columns == 0 ? 0 : values.size() / columns; }
  const float* row(std::size_t i) const { return values.data() + i * columns; }
};

/// One file of records: the steps that it has, and by statistic id a value or a row per step.
struct RecordTable {
  std::vector<std::int64_t> steps;
  std::map<std::string, std::vector<double>, std::less<>> scalars;  ///< NaN where absent or not finite
  std::map<std::string, RecordMatrix, std::less<>> arrays;
};

struct RunEvent {
  std::int64_t step = 0;
  std::string kind, text, time;
};

/// A logged value that was not finite.
struct NonfiniteValue {
  std::int64_t step = 0;
  std::string path, kind;  ///< kind: nan, inf or -inf
};

struct ConfigEntry {
  std::string key;     ///< dotted
  std::string value;   ///< TOML text
  std::string origin;  ///< "default", "--set", "configs/a.toml:5"; empty when not stated
};

struct RunData {
  std::filesystem::path directory;
  std::string name;  ///< run.name, or the folder's name
  RecordTable metrics, stability, ranks;
  std::vector<std::string> sublayers;  ///< (K)
  std::vector<std::string> tensors;    ///< (P)
  std::vector<RunEvent> events;
  std::vector<NonfiniteValue> nonfinite;        ///< of metrics.jsonl
  std::vector<ConfigEntry> config;              ///< empty when config.toml is missing
  std::map<std::string, std::string> manifest;  ///< facts as text
  std::vector<std::string> hosts;               ///< by rank
  std::string last_written;                     ///< of metrics.jsonl, UTC
  bool written_lately = false;                  ///< within the last five minutes
  std::vector<std::string> notes;               ///< what was wrong with the files, for the reader of the page

  /// Of config.toml; "" when not there. Text without its quotes.
  std::string setting(std::string_view key) const;
  /// Whole number of a setting, 0 when it is none.
  std::int64_t whole_setting(std::string_view key) const;
};

/// Column of a statistic, whichever file it is in; null when the log does not have it.
const std::vector<double>* find_scalar(const RunData& run, std::string_view id);
const RecordMatrix* find_array(const RunData& run, std::string_view id);

/// Reads a run that is finished, in progress or killed. A torn last line is left out; a damaged line or a
/// missing side file is noted. InputError when the folder holds no metrics.jsonl.
RunData read_run(const std::filesystem::path& directory);

}  // namespace plumb

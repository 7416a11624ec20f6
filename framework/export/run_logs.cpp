#include "export/run_logs.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "stability/absent.h"
#include "stability/metrics_reference.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

Json::json_pointer place_of(std::string path) {
  std::replace(path.begin(), path.end(), '.', '/');
  return Json::json_pointer("/" + path);
}

double number_of(const Json& value) {
  if (value.is_null()) return kAbsent;
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  return value.get<double>();
}

double nonfinite_value(const std::string& kind) {
  if (kind == "nan") return std::numeric_limits<double>::quiet_NaN();
  return kind == "inf" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
}

/// Calls use(record, line number) for every whole line; what a kill tore off at the end is no record.
template <class Use>
void for_each_record(const fs::path& file, const Use& use) {
  std::ifstream in(file, std::ios::binary);
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (in.eof()) return;
    const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    try {
      if (!record.is_object()) fail_input("not a JSON record; the log is damaged");
      use(record);
    } catch (const std::exception& error) {
      fail_input("{}:{}: {}", file.string(), number, error.what());
    }
  }
}

std::string dimension_of(const Statistic& statistic, const std::string& path) {
  const std::vector<std::string> names = dimensions(statistic, path);
  PLUMB_CHECK(names.size() <= 1, "{} has {} dimensions, one can be read", path, names.size());
  return names.empty() ? "" : names.front();
}

/// One field while its records come in, of which each may have another length.
class Column {
 public:
  Column(const Statistic& statistic, std::string path)
      : field_{.statistic = &statistic,
               .path = path,
               .dimension = dimension_of(statistic, path),
               .entries = 1,
               .values = {}},
        place_(place_of(std::move(path))) {}

  const std::string& path() const { return field_.path; }

  void add(const Json& record) {
    std::vector<double>& row = rows_.emplace_back();
    if (!record.contains(place_)) return;
    const Json& value = record.at(place_);
    if (value.is_array() == field_.dimension.empty()) {
      fail_input("'{}' is {}a list, which it is not in this version", field_.path,
                 value.is_array() ? "" : "not ");
    }
    if (value.is_array()) {
      for (const Json& entry : value) row.push_back(number_of(entry));
    } else {
      row.push_back(number_of(value));
    }
    is_present_ = true;
  }

  /// Of the record added last.
  void set(std::size_t entry, double value) {
    if (!rows_.empty() && entry < rows_.back().size()) rows_.back()[entry] = value;
  }

  bool is_present() const { return is_present_; }

  LogField finish() {
    std::size_t entries = 0;
    for (const std::vector<double>& row : rows_) entries = std::max(entries, row.size());
    field_.entries = static_cast<std::int64_t>(entries);
    field_.values.reserve(entries * rows_.size());
    for (std::vector<double>& row : rows_) {
      row.resize(entries, kAbsent);
      field_.values.insert(field_.values.end(), row.begin(), row.end());
      row = {};
    }
    return std::move(field_);
  }

 private:
  LogField field_;
  Json::json_pointer place_;
  std::vector<std::vector<double>> rows_;
  bool is_present_ = false;
};

std::vector<Column> columns_of(std::string_view file) {
  std::vector<Column> columns;
  for (const Statistic& statistic : statistics()) {
    if (statistic.file != file || statistic.probe == Probe::Text || statistic.path == "step") continue;
    for (const std::string& path : expand_path(statistic.path)) columns.emplace_back(statistic, path);
  }
  return columns;
}

/// Puts back what JSON could not hold: {"path": "profiles.stream.rms[3]", "kind": "nan"}.
void restore_nonfinite(const Json& record, std::vector<Column>& columns) {
  const auto list = record.find("nonfinite");
  if (list == record.end()) return;
  for (const Json& item : *list) {
    std::string path = item.at("path").get<std::string>();
    std::size_t entry = 0;
    if (const std::size_t bracket = path.find('['); bracket != std::string::npos) {
      entry = std::stoul(path.substr(bracket + 1));
      path.resize(bracket);
    }
    for (Column& column : columns) {
      if (column.path() == path) column.set(entry, nonfinite_value(item.at("kind").get<std::string>()));
    }
  }
}

LogTable read_table(const RunLogs& logs, std::string_view file) {
  LogTable table{.file = file, .steps = {}, .fields = {}};
  std::vector<Column> columns = columns_of(file);
  for_each_record(logs.folder / file, [&](const Json& record) {
    if (record.contains("kind")) return;  // the first line of stability.jsonl
    table.steps.push_back(record.at("step").get<std::int64_t>());
    for (Column& column : columns) column.add(record);
    restore_nonfinite(record, columns);
  });
  for (Column& column : columns) {
    if (!column.is_present()) continue;
    LogField field = column.finish();
    const auto named = static_cast<std::int64_t>(logs.names_of(field.dimension).size());
    if (named > 0 && field.entries != named) {
      fail_input("{}: '{}' has {} entries, the first line names {} of {}", (logs.folder / file).string(),
                 field.path, field.entries, named, field.dimension);
    }
    table.fields.push_back(std::move(field));
  }
  return table;
}

std::map<std::string, std::vector<std::string>> read_names(const fs::path& folder) {
  std::map<std::string, std::vector<std::string>> names;
  for_each_record(folder / log_file::kStability, [&](const Json& record) {
    if (!record.contains("kind")) return;
    for (const auto& [key, value] : record.items()) {
      if (value.is_array()) names[key] = value.get<std::vector<std::string>>();
    }
  });
  return names;
}

std::string text_of(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error) ? read_whole_file(file) : std::string();
}

}  // namespace

std::string RunLogs::name() const {
  const fs::path whole = fs::absolute(folder).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

const std::vector<std::string>& RunLogs::names_of(const std::string& dimension) const {
  static const std::vector<std::string> none;
  const auto found = names.find(dimension + "s");
  return found == names.end() ? none : found->second;
}

std::int64_t RunLogs::size_of(const std::string& dimension) const {
  std::int64_t size = 0;
  for (const LogTable* table : tables()) {
    for (const LogField& field : table->fields) {
      if (field.dimension == dimension) size = std::max(size, field.entries);
    }
  }
  return size;
}

LogTable read_metrics(const fs::path& folder) {
  RunLogs logs;
  logs.folder = folder;
  return read_table(logs, log_file::kMetrics);
}

RunLogs read_run_logs(const fs::path& folder) {
  if (!is_folder(folder)) fail_input("{}: there is no such run folder", folder.string());
  if (!fs::exists(folder / log_file::kMetrics)) {
    fail_input("{}: no run, {} is missing; expected a run.dir of `plumb train`", folder.string(),
               log_file::kMetrics);
  }
  RunLogs logs;
  logs.folder = folder;
  logs.names = read_names(folder);
  logs.metrics = read_table(logs, log_file::kMetrics);
  logs.stability = read_table(logs, log_file::kStability);
  logs.ranks = read_table(logs, log_file::kRanks);
  for_each_record(folder / log_file::kEvents, [&](const Json& record) {
    logs.events.push_back({.step = record.at("step"),
                           .kind = record.at("kind"),
                           .text = record.at("text"),
                           .time = record.at("time")});
  });
  logs.config = text_of(folder / "config.toml");
  logs.manifest = text_of(folder / "manifest.json");
  return logs;
}

}  // namespace plumb

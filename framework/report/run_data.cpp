#include "report/run_data.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "config/toml_reader.h"
#include "core/error.h"
#include "core/file.h"
#include "report/report_statistics.h"

namespace plumb {
namespace {

using Json = nlohmann::json;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kNonfiniteKept = 1000;

/// A field of the table with its path cut into levels once.
struct Field {
  const ReportStatistic* statistic;
  std::vector<std::string> levels;
};

std::vector<Field> fields_of(std::string_view file) {
  std::vector<Field> fields;
  for (const ReportStatistic& statistic : report_statistics()) {
    if (statistic.file != file) continue;
    Field field{&statistic, {}};
    std::string_view rest = statistic.path;
    for (std::size_t dot; (dot = rest.find('.')) != rest.npos; rest.remove_prefix(dot + 1)) {
      field.levels.emplace_back(rest.substr(0, dot));
    }
    field.levels.emplace_back(rest);
    fields.push_back(std::move(field));
  }
  return fields;
}

const Json* find(const Json& record, const Field& field) {
  const Json* value = &record;
  for (const std::string& level : field.levels) {
    const auto found = value->find(level);
    if (found == value->end()) return nullptr;
    value = &*found;
    if (!value->is_object() && &level != &field.levels.back()) return nullptr;
  }
  return value;
}

double number(const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  return value.is_number() ? value.get<double>() : kNaN;
}

/// A text of a record; "" where it is missing or something else.
std::string text_of(const Json& record, const char* key) {
  const auto found = record.find(key);
  return found != record.end() && found->is_string() ? found->get<std::string>() : "";
}

std::vector<std::string> names_of(const Json& record, const char* key) {
  std::vector<std::string> names;
  const auto found = record.find(key);
  if (found == record.end() || !found->is_array()) return names;
  for (const Json& name : *found) names.push_back(name.is_string() ? name.get<std::string>() : name.dump());
  return names;
}

/// Calls use(record) for every whole record; what is wrong becomes a note. False when the file is missing.
template <class Use>
bool read_records(const std::filesystem::path& file, std::vector<std::string>& notes, Use&& use) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return false;
  std::string line;
  std::int64_t damaged = 0, first_damaged = 0;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (in.eof()) {
      notes.push_back(
          fmt::format("{}: the last line is torn and was left out (the run was killed, or is writing)",
                      file.filename().string()));
      break;
    }
    const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_object()) {
      use(record);
    } else if (damaged++ == 0) {
      first_damaged = number;
    }
  }
  if (damaged > 0) {
    notes.push_back(fmt::format("{}: {} damaged line(s) left out, the first is line {}",
                                file.filename().string(), damaged, first_damaged));
  }
  return true;
}

void append_row(RecordMatrix& matrix, std::size_t rows_before, const Json& value) {
  if (matrix.columns == 0) {
    matrix.columns = value.size();
    matrix.values.assign(rows_before * matrix.columns, std::numeric_limits<float>::quiet_NaN());
  }
  if (value.size() != matrix.columns) return;
  for (const Json& entry : value) matrix.values.push_back(static_cast<float>(number(entry)));
}

/// One record into the columns; records whose step does not rise are left out.
bool append_record(RecordTable& table, const std::vector<Field>& fields, const Json& record) {
  const auto step = record.find("step");
  if (step == record.end() || !step->is_number_integer()) return false;
  const auto at = step->get<std::int64_t>();
  if (!table.steps.empty() && at <= table.steps.back()) return false;
  const std::size_t rows = table.steps.size();
  table.steps.push_back(at);
  for (const Field& field : fields) {
    const Json* value = find(record, field);
    const std::string_view id = field.statistic->id;
    if (value == nullptr) continue;
    if (field.statistic->shape == StatisticShape::Scalar) {
      std::vector<double>& column = table.scalars[std::string(id)];
      column.resize(rows, kNaN);
      column.push_back(number(*value));
    } else if (value->is_array() && !value->empty()) {
      append_row(table.arrays[std::string(id)], rows, *value);
    }
  }
  // What this record lacks is NaN, so that all columns stay as long as `steps`.
  for (auto& [id, column] : table.scalars) column.resize(rows + 1, kNaN);
  for (auto& [id, matrix] : table.arrays) {
    matrix.values.resize((rows + 1) * matrix.columns, std::numeric_limits<float>::quiet_NaN());
  }
  return true;
}

void read_table(RunData& run, std::string_view name, RecordTable& table) {
  const std::vector<Field> fields = fields_of(name);
  std::int64_t out_of_order = 0;
  const bool found = read_records(run.directory / name, run.notes, [&](const Json& record) {
    if (text_of(record, "kind") == "header") {
      run.tensors = names_of(record, "tensors");
      run.sublayers = names_of(record, "sublayers");
      return;
    }
    if (!append_record(table, fields, record)) {
      ++out_of_order;
      return;
    }
    if (name != "metrics.jsonl") return;
    const auto nonfinite = record.find("nonfinite");
    if (nonfinite == record.end() || !nonfinite->is_array()) return;
    for (const Json& entry : *nonfinite) {
      if (run.nonfinite.size() == kNonfiniteKept || !entry.is_object()) break;
      run.nonfinite.push_back({table.steps.back(), text_of(entry, "path"), text_of(entry, "kind")});
    }
  });
  if (!found) run.notes.push_back(fmt::format("{} is missing", name));
  if (out_of_order > 0) {
    run.notes.push_back(
        fmt::format("{}: {} record(s) left out whose step does not rise", name, out_of_order));
  }
}

void read_events(RunData& run) {
  read_records(run.directory / "events.jsonl", run.notes, [&](const Json& record) {
    const auto step = record.find("step");
    const bool known = step != record.end() && step->is_number_integer();
    run.events.push_back({known ? step->get<std::int64_t>() : 0, text_of(record, "kind"),
                          text_of(record, "text"), text_of(record, "time")});
  });
}

/// A text without quotes, a list joined by commas, anything else as JSON writes it.
std::string fact(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& entry : value) text += (text.empty() ? "" : ", ") + fact(entry);
  return text;
}

void read_manifest(RunData& run) {
  std::ifstream in(run.directory / "manifest.json", std::ios::binary);
  const Json manifest = in ? Json::parse(in, nullptr, /*allow_exceptions=*/false) : Json();
  if (!manifest.is_object()) {
    run.notes.push_back("manifest.json is missing or damaged");
    return;
  }
  for (const auto& [key, value] : manifest.items()) run.manifest[key] = fact(value);
  if (manifest.contains("hosts") && manifest["hosts"].is_array()) {
    for (const Json& host : manifest["hosts"]) run.hosts.push_back(fact(host));
  }
}

void flatten(const TomlValue::Table& table, const std::string& prefix, const std::vector<std::string>& lines,
             std::vector<ConfigEntry>& entries) {
  for (const TomlEntry& entry : table) {
    const std::string key = prefix.empty() ? entry.key : prefix + "." + entry.key;
    if (const auto* inner = std::get_if<TomlValue::Table>(&entry.value.data)) {
      flatten(*inner, key, lines, entries);
      continue;
    }
    std::string origin;
    const auto line = static_cast<std::size_t>(entry.value.line);
    if (0 < line && line <= lines.size()) {
      const std::size_t comment = lines[line - 1].rfind("  # ");
      if (comment != std::string::npos) origin = lines[line - 1].substr(comment + 4);
    }
    entries.push_back({key, toml_text(entry.value), origin});
  }
}

void read_config(RunData& run) {
  const std::filesystem::path file = run.directory / "config.toml";
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    run.notes.push_back("config.toml is missing");
    return;
  }
  std::vector<std::string> lines;
  std::string text;
  for (std::string line; std::getline(in, line);) {
    text += line + "\n";
    lines.push_back(std::move(line));
  }
  try {
    flatten(parse_toml(text, file.string()), "", lines, run.config);
  } catch (const InputError& error) {
    run.notes.push_back(error.what());
  }
}

void set_last_written(RunData& run) {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(run.directory / "metrics.jsonl", error);
  if (error) return;
  const auto age = std::filesystem::file_time_type::clock::now() - written;
  run.written_lately = age < std::chrono::minutes(5);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(age).count();
  run.last_written = fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                                 fmt::gmtime(std::time(nullptr) - static_cast<std::time_t>(seconds)));
}

}  // namespace

std::string RunData::setting(std::string_view key) const {
  for (const ConfigEntry& entry : config) {
    if (entry.key != key) continue;
    const std::string& value = entry.value;
    const bool quoted = value.size() >= 2 && value.front() == '"' && value.back() == '"';
    return quoted ? value.substr(1, value.size() - 2) : value;
  }
  return "";
}

std::int64_t RunData::whole_setting(std::string_view key) const {
  const std::string text = setting(key);
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

const std::vector<double>* find_scalar(const RunData& run, std::string_view id) {
  for (const RecordTable* table : {&run.metrics, &run.stability, &run.ranks}) {
    if (const auto found = table->scalars.find(id); found != table->scalars.end()) return &found->second;
  }
  return nullptr;
}

const RecordMatrix* find_array(const RunData& run, std::string_view id) {
  for (const RecordTable* table : {&run.metrics, &run.stability, &run.ranks}) {
    if (const auto found = table->arrays.find(id); found != table->arrays.end()) return &found->second;
  }
  return nullptr;
}

RunData read_run(const std::filesystem::path& directory) {
  RunData run;
  run.directory = directory;
  if (!is_folder(directory) || !std::filesystem::exists(directory / "metrics.jsonl")) {
    fail_input(
        "'{}' holds no run: there is no metrics.jsonl in it; give the folder of a run, e.g. runs/quickstart",
        directory.string());
  }
  read_config(run);
  read_manifest(run);
  read_table(run, "metrics.jsonl", run.metrics);
  read_table(run, "stability.jsonl", run.stability);
  read_table(run, "ranks.jsonl", run.ranks);
  read_events(run);
  set_last_written(run);
  run.name = run.setting("run.name");
  if (run.name.empty())
    run.name = std::filesystem::absolute(directory).lexically_normal().filename().string();
  return run;
}

}  // namespace plumb

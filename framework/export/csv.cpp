#include "export/csv.h"

#include <functional>
#include <vector>

#include "core/file.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

constexpr const char* kTensorDimension = "tensor";

std::string value_text(const LogField& field, std::size_t place) {
  const double value = field.values[place];
  if (is_absent(value)) return "";
  if (field.statistic->form == Form::Flag) return value != 0 ? "true" : "false";
  return fmt::format("{}", value);
}

/// A file that appears under its name when it is whole.
class CsvFile {
 public:
  CsvFile(const std::filesystem::path& folder, const std::string& name)
      : path_(folder / name), writer_(folder / (name + ".partial")) {}

  void row(const std::vector<std::string>& fields) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i > 0) text_ += ',';
      text_ += csv_field(fields[i]);
    }
    text_ += "\r\n";
    if (text_.size() >= kBuffer) flush();
  }

  void finish() {
    flush();
    writer_.finish();
    rename_path(writer_.path(), path_);
    sync_folder(parent_folder(path_));
  }

 private:
  static constexpr std::size_t kBuffer = 1 << 20;

  void flush() {
    writer_.write(text_);
    text_.clear();
  }

  std::filesystem::path path_;
  FileWriter writer_;
  std::string text_;
};

/// A row per record and entry of `dimension`, or per record where that is empty.
void write_wide(CsvFile& file, const LogTable& table, const std::string& dimension, std::int64_t entries,
                const std::function<std::string(std::int64_t)>& name) {
  std::vector<const LogField*> columns;
  std::vector<std::string> header = {"step"};
  if (!dimension.empty()) header.push_back(dimension);
  for (const LogField& field : table.fields) {
    if (field.dimension != dimension) continue;
    columns.push_back(&field);
    header.push_back(field.path);
  }
  file.row(header);
  if (columns.empty()) return;
  for (std::size_t record = 0; record < table.steps.size(); ++record) {
    for (std::int64_t entry = 0; entry < entries; ++entry) {
      std::vector<std::string> row = {std::to_string(table.steps[record])};
      if (!dimension.empty()) row.push_back(name(entry));
      bool is_there = false;
      for (const LogField* field : columns) {
        const bool has_entry = entry < field->entries;
        const auto place =
            static_cast<std::size_t>(field->entries) * record + static_cast<std::size_t>(entry);
        row.push_back(has_entry ? value_text(*field, place) : "");
        is_there = is_there || !row.back().empty();
      }
      // A run that went on with fewer ranks has no rows for the others.
      if (is_there || dimension.empty()) file.row(row);
    }
  }
}

void write_profiles(CsvFile& file, const RunLogs& logs) {
  file.row({"step", "field", "dimension", "index", "name", "value"});
  for (std::size_t record = 0; record < logs.stability.steps.size(); ++record) {
    const std::string step = std::to_string(logs.stability.steps[record]);
    for (const LogField& field : logs.stability.fields) {
      if (field.dimension == kTensorDimension) continue;
      const std::vector<std::string>& names = logs.names_of(field.dimension);
      const auto entries = static_cast<std::size_t>(field.entries);
      for (std::size_t i = 0; i < entries; ++i) {
        const std::string value = value_text(field, entries * record + i);
        if (value.empty()) continue;
        file.row({step, field.path, field.dimension, field.dimension.empty() ? "" : std::to_string(i),
                  i < names.size() ? names[i] : "", value});
      }
    }
  }
}

void write_fields(CsvFile& file, const RunLogs& logs) {
  file.row({"file", "field", "definition", "unit", "source"});
  for (const LogTable* table : logs.tables()) {
    for (const LogField& field : table->fields) {
      const Statistic& statistic = *field.statistic;
      std::string name = "metrics.csv";
      if (table->file == log_file::kRanks) name = "ranks.csv";
      if (table->file == log_file::kStability)
        name = field.dimension == kTensorDimension ? "tensors.csv" : "stability_profiles.csv";
      file.row({name, field.path, std::string(statistic.definition), std::string(statistic.unit),
                std::string(statistic.source)});
    }
  }
}

}  // namespace

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char character : text) {
    if (character == '"') quoted += '"';
    quoted += character;
  }
  return quoted + '"';
}

void write_csv(const RunLogs& logs, const std::filesystem::path& folder) {
  create_folders(folder);
  const auto write = [&](const std::string& name, const std::function<void(CsvFile&)>& content) {
    CsvFile file(folder, name);
    content(file);
    file.finish();
  };
  write("metrics.csv", [&](CsvFile& file) { write_wide(file, logs.metrics, "", 1, {}); });
  write("stability_profiles.csv", [&](CsvFile& file) { write_profiles(file, logs); });
  const std::vector<std::string>& tensors = logs.names_of(kTensorDimension);
  write("tensors.csv", [&](CsvFile& file) {
    write_wide(file, logs.stability, kTensorDimension, static_cast<std::int64_t>(tensors.size()),
               [&](std::int64_t i) { return tensors[static_cast<std::size_t>(i)]; });
  });
  write("ranks.csv", [&](CsvFile& file) {
    write_wide(file, logs.ranks, "rank", logs.size_of("rank"),
               [](std::int64_t rank) { return std::to_string(rank); });
  });
  write("events.csv", [&](CsvFile& file) {
    file.row({"step", "kind", "text", "time"});
    for (const LoggedEvent& event : logs.events)
      file.row({std::to_string(event.step), event.kind, event.text, event.time});
  });
  write("fields.csv", [&](CsvFile& file) { write_fields(file, logs); });
}

}  // namespace plumb

#include "export/netcdf.h"

#include <netcdf.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "core/file.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
/// Of zlib; more costs time and hardly saves space on logs.
constexpr int kDeflateLevel = 1;

/// Throws what the library says of a status that is not success.
void check(int status, const std::string& subject) {
  if (status != NC_NOERR) fail("{}: NetCDF: {}", subject, nc_strerror(status));
}

/// A file that is being defined and filled; closed in any case, and then removed if it was not finished.
class NetcdfFile {
 public:
  explicit NetcdfFile(const std::filesystem::path& path) : path_(path), partial_(path) {
    partial_ += ".partial";
    create_folders(parent_folder(path_));
    check(nc_create(partial_.c_str(), NC_NETCDF4 | NC_CLOBBER, &id_), path_.string());
    is_open_ = true;
  }
  ~NetcdfFile() {
    if (!is_open_) return;
    nc_close(id_);
    std::error_code ignored;
    std::filesystem::remove(partial_, ignored);
  }
  NetcdfFile(const NetcdfFile&) = delete;
  NetcdfFile& operator=(const NetcdfFile&) = delete;

  void finish() {
    is_open_ = false;
    check(nc_close(id_), path_.string());
    rename_path(partial_, path_);
    sync_folder(parent_folder(path_));
  }

  int dimension(const std::string& name, std::size_t size) {
    const auto [place, is_new] = dimensions_.try_emplace(name, -1);
    if (is_new) check(nc_def_dim(id_, name.c_str(), size, &place->second), name);
    return place->second;
  }

  int variable(const std::string& name, nc_type type, const std::vector<int>& dimensions) {
    int variable = -1;
    const int rank = static_cast<int>(dimensions.size());
    check(nc_def_var(id_, name.c_str(), type, rank, dimensions.data(), &variable), name);
    return variable;
  }

  /// Of a variable, or of the file with NC_GLOBAL.
  void attribute(int variable, const char* name, std::string_view text) {
    check(nc_put_att_text(id_, variable, name, text.size(), text.data()), name);
  }

  void numbers(int variable, const std::vector<double>& values, const std::string& name) {
    check(nc_put_att_double(id_, variable, "_FillValue", NC_DOUBLE, 1, &kNan), name);
    check(nc_def_var_deflate(id_, variable, /*shuffle=*/1, /*deflate=*/1, kDeflateLevel), name);
    check(nc_put_var_double(id_, variable, values.data()), name);
  }

  void integers(const std::string& name, int dimension, const std::vector<std::int64_t>& values,
                std::string_view meaning) {
    const int id = variable(name, NC_INT64, {dimension});
    attribute(id, "long_name", meaning);
    const std::vector<long long> wide(values.begin(), values.end());
    check(nc_put_var_longlong(id_, id, wide.data()), name);
  }

  void texts(const std::string& name, int dimension, const std::vector<std::string>& values,
             std::string_view meaning) {
    const int id = variable(name, NC_STRING, {dimension});
    attribute(id, "long_name", meaning);
    std::vector<const char*> pointers;
    for (const std::string& value : values) pointers.push_back(value.c_str());
    check(nc_put_var_string(id_, id, pointers.data()), name);
  }

 private:
  std::filesystem::path path_, partial_;
  int id_ = -1;
  bool is_open_ = false;
  std::map<std::string, int> dimensions_;
};

/// The table calls the K+1 places before, between and after the sublayers "stream".
std::string dimension_name(const std::string& dimension) {
  return dimension == "stream" ? "stream_layer" : dimension;
}

std::string step_dimension(const LogTable& table) {
  if (table.file == log_file::kMetrics) return "step";
  return std::string(table.file.substr(0, table.file.find('.'))) + "_step";
}

/// (records, entries), of which the field itself may have fewer. Absent values and infinities become NaN,
/// with its usual bits.
std::vector<double> plain_values(const LogField& field, std::size_t entries) {
  const auto own = static_cast<std::size_t>(field.entries), records = field.values.size() / own;
  std::vector<double> values(records * entries, kNan);
  for (std::size_t i = 0; i < field.values.size(); ++i) {
    if (std::isfinite(field.values[i])) values[i / own * entries + i % own] = field.values[i];
  }
  return values;
}

std::string_view definition_of(std::string_view file, std::string_view path) {
  for (const Statistic& statistic : statistics()) {
    if (statistic.file == file && statistic.path == path) return statistic.definition;
  }
  fail("the table of statistics has no {} in {}", path, file);
}

/// The coordinate variable of a dimension that is no log's.
int define_dimension(NetcdfFile& file, const RunLogs& logs, const std::string& dimension,
                     std::map<std::string, int>& known) {
  const auto found = known.find(dimension);
  if (found != known.end()) return found->second;
  const std::string name = dimension_name(dimension);
  const std::vector<std::string>& entries = logs.names_of(dimension);
  const std::int64_t size = logs.size_of(dimension);
  const int id = file.dimension(name, static_cast<std::size_t>(size));
  if (!entries.empty()) {
    file.texts(name, id, entries, "names of the " + dimension + "s, in the order of the model");
  } else {
    std::vector<std::int64_t> indices;
    for (std::int64_t i = 0; i < size; ++i) indices.push_back(i);
    file.integers(name, id, indices,
                  dimension == "stream" ? "the stream before sublayer k, and after the last one"
                                        : "number of the " + dimension);
  }
  return known[dimension] = id;
}

void write_table(NetcdfFile& file, const RunLogs& logs, const LogTable& table,
                 std::map<std::string, int>& known) {
  if (table.steps.empty()) return;
  const std::string steps = step_dimension(table);
  const int records = file.dimension(steps, table.steps.size());
  file.integers(steps, records, table.steps, definition_of(log_file::kMetrics, "step"));
  for (const LogField& field : table.fields) {
    std::vector<int> dimensions = {records};
    std::int64_t entries = 1;
    if (!field.dimension.empty()) {
      dimensions.push_back(define_dimension(file, logs, field.dimension, known));
      entries = logs.size_of(field.dimension);
    }
    const std::string name = netcdf_name(field);
    const int variable = file.variable(name, NC_DOUBLE, dimensions);
    file.attribute(variable, "long_name", field.statistic->definition);
    file.attribute(variable, "units", field.statistic->unit);
    file.attribute(variable, "source", field.statistic->source);
    file.attribute(variable, "field", fmt::format("{}: {}", table.file, field.path));
    file.numbers(variable, plain_values(field, static_cast<std::size_t>(entries)), name);
  }
}

void write_events(NetcdfFile& file, const std::vector<LoggedEvent>& events) {
  if (events.empty()) return;
  std::vector<std::int64_t> steps;
  std::vector<std::string> kinds, texts, times;
  for (const LoggedEvent& event : events) {
    steps.push_back(event.step);
    kinds.push_back(event.kind);
    texts.push_back(event.text);
    times.push_back(event.time);
  }
  const int dimension = file.dimension("event", events.size());
  const auto meaning = [](std::string_view path) { return definition_of(log_file::kEvents, path); };
  file.integers("event_step", dimension, steps, meaning("step"));
  file.texts("event_kind", dimension, kinds, meaning("kind"));
  file.texts("event_text", dimension, texts, meaning("text"));
  file.texts("event_time", dimension, times, meaning("time"));
}

}  // namespace

void require_netcdf() {}

void write_netcdf(const RunLogs& logs, const std::filesystem::path& path) {
  NetcdfFile file(path);
  file.attribute(NC_GLOBAL, "title", "logs of the run " + logs.name());
  file.attribute(NC_GLOBAL, "config", logs.config);
  file.attribute(NC_GLOBAL, "manifest", logs.manifest);
  std::map<std::string, int> known;
  for (const LogTable* table : logs.tables()) write_table(file, logs, *table, known);
  write_events(file, logs.events);
  file.finish();
}

}  // namespace plumb

#include "report/depth_document.h"

#include <algorithm>
#include <cmath>

#include "report/report_statistics.h"

namespace plumb {
namespace {

using Json = ReportJson;

/// All heat maps together, in characters of the page; base64 takes 16/3 for a float.
constexpr double kMapBudget = 6e6;
constexpr std::size_t kFewestMapColumns = 40;

/// Ids of what has a value per depth, in the order of the page.
std::vector<std::string> depth_statistics(const RunData& run) {
  std::vector<std::string> ids;
  for (const ReportStatistic& statistic : report_statistics()) {
    const bool over_depth = statistic.shape == StatisticShape::Boundary ||
                            statistic.shape == StatisticShape::Sublayer ||
                            statistic.shape == StatisticShape::Block;
    const std::string id(statistic.id);
    if (over_depth && run.stability.arrays.contains(id)) ids.push_back(id);
  }
  return ids;
}

/// The records that have a number of a statistic: some are taken at fewer steps than others.
struct StatisticRecords {
  std::vector<std::int64_t> steps;
  RecordMatrix matrix;
};

StatisticRecords records_of(const RunData& run, const std::string& id) {
  const RecordMatrix& all = run.stability.arrays.find(id)->second;
  StatisticRecords records{.steps = {}, .matrix = {.columns = all.columns, .values = {}}};
  for (std::size_t i = 0; i < all.rows(); ++i) {
    const float* row = all.row(i);
    if (std::none_of(row, row + all.columns, [](float value) { return std::isfinite(value); })) continue;
    records.steps.push_back(run.stability.steps[i]);
    records.matrix.values.insert(records.matrix.values.end(), row, row + all.columns);
  }
  return records;
}

/// Bins of a matrix: smallest, largest and mean of the finite entries of every column.
Json map_json(const StatisticRecords& records, std::size_t most_bins) {
  const RecordMatrix& matrix = records.matrix;
  const std::vector<StepBin> bins = step_bins(records.steps, most_bins);
  std::vector<float> smallest, largest, mean;
  std::vector<double> column;
  for (const StepBin& bin : bins) {
    for (std::size_t k = 0; k < matrix.columns; ++k) {
      column.clear();
      for (std::size_t i = bin.begin; i < bin.end; ++i) column.push_back(matrix.row(i)[k]);
      const BinValues found = summarise(column);
      smallest.push_back(static_cast<float>(found.smallest));
      largest.push_back(static_cast<float>(found.largest));
      mean.push_back(static_cast<float>(found.mean));
    }
  }
  Json map = bin_steps(bins, records.steps);
  map["columns"] = matrix.columns;
  map["mean"] = base64_floats(mean);
  if (bins.size() < matrix.rows()) {
    map["min"] = base64_floats(smallest);
    map["max"] = base64_floats(largest);
  }
  return map;
}

}  // namespace

ReportJson bin_steps(const std::vector<StepBin>& bins, const std::vector<std::int64_t>& steps) {
  Json first = Json::array(), last = Json::array();
  for (const StepBin& bin : bins) {
    first.push_back(steps[bin.begin]);
    last.push_back(steps[bin.end - 1]);
  }
  return {{"first", first}, {"last", last}, {"records", steps.size()}};
}

ReportJson profiles_json(const RunData& run, const ReportOptions& options) {
  Json profiles = Json::object();
  for (const std::string& id : depth_statistics(run)) {
    const StatisticRecords records = records_of(run, id);
    Json steps = Json::array(), rows = Json::array();
    for (const std::size_t record : chosen_records(records.steps, options.profile_steps)) {
      const float* row = records.matrix.row(record);
      steps.push_back(records.steps[record]);
      rows.push_back(rounded_list(std::vector<double>(row, row + records.matrix.columns)));
    }
    if (!steps.empty()) profiles[id] = {{"steps", steps}, {"rows", rows}};
  }
  return profiles;
}

ReportJson profile_steps(const RunData& run, const ReportOptions& options) {
  Json steps = Json::array();
  for (const std::size_t record : chosen_records(run.stability.steps, options.profile_steps)) {
    steps.push_back(run.stability.steps[record]);
  }
  return steps;
}

ReportJson maps_json(const RunData& run, std::size_t columns) {
  std::vector<std::string> ids = depth_statistics(run);
  for (const char* id : {"kind.update_ratio", "kind.adam_lag"}) {
    if (run.stability.arrays.contains(id)) ids.emplace_back(id);
  }
  Json maps = Json::object();
  for (const std::string& id : ids) {
    const StatisticRecords records = records_of(run, id);
    if (!records.steps.empty()) maps[id] = map_json(records, columns);
  }
  return maps;
}

std::size_t affordable_columns(const std::vector<RunData>& runs, const ReportOptions& options) {
  double values_per_column = 1;
  for (const RunData& run : runs) {
    for (const std::string& id : depth_statistics(run)) {
      values_per_column += 3.0 * static_cast<double>(run.stability.arrays.find(id)->second.columns);
    }
  }
  const double columns = kMapBudget / (values_per_column * 16 / 3);
  return std::min(options.map_columns, std::max(static_cast<std::size_t>(columns), kFewestMapColumns));
}

}  // namespace plumb

#include "report/report_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "report/config_difference.h"
#include "report/depth_document.h"
#include "report/downsample.h"
#include "report/rank_document.h"
#include "report/report_numbers.h"
#include "report/report_statistics.h"
#include "report/run_summary.h"
#include "report/tensor_groups.h"
#include "report/verdict.h"

namespace plumb {
namespace {

using Json = ReportJson;

constexpr std::size_t kEvents = 1000, kSpikes = 500, kGrowthRecords = 60;

std::string_view shape_name(StatisticShape shape) {
  switch (shape) {
    case StatisticShape::Scalar:
      return "scalar";
    case StatisticShape::Boundary:
      return "boundary";
    case StatisticShape::Sublayer:
      return "sublayer";
    case StatisticShape::Tensor:
      return "tensor";
    case StatisticShape::Rank:
      return "rank";
    case StatisticShape::Block:
      return "block";
    case StatisticShape::Derived:
      return "derived";
  }
  return "";
}

Json statistics_json() {
  Json list = Json::array();
  for (const ReportStatistic& statistic : report_statistics()) {
    const Statistic* field = declared_field(statistic);
    list.push_back(
        {{"id", statistic.id},
         {"section", statistic.section},
         {"shape", shape_name(statistic.shape)},
         {"title", statistic.title},
         {"unit", statistic.unit},
         {"log", statistic.logarithmic},
         {"sentence", statistic.sentence},
         {"source", statistic.source},
         {"written_by", written_by(statistic)},
         {"field", statistic.file.empty() ? "" : fmt::format("{}: {}", statistic.file, statistic.path)},
         {"definition", field ? field->definition : ""}});
  }
  return list;
}

Json curve_json(std::span<const double> values, const std::vector<StepBin>& bins, bool smoothed) {
  std::vector<double> smallest, largest, mean, smooth;
  const std::vector<double> moving =
      smoothed ? moving_median(values, std::max<std::size_t>(values.size() / 50, 1) | 1U)
               : std::vector<double>();
  for (const StepBin& bin : bins) {
    const BinValues found = summarise(values.subspan(bin.begin, bin.end - bin.begin));
    smallest.push_back(found.smallest);
    largest.push_back(found.largest);
    mean.push_back(found.mean);
    if (smoothed) smooth.push_back(moving[(bin.begin + bin.end - 1) / 2]);
  }
  Json curve = {{"mean", rounded_list(mean)}};
  if (bins.size() < values.size()) {
    curve["min"] = rounded_list(smallest);
    curve["max"] = rounded_list(largest);
  }
  if (smoothed) curve["smooth"] = rounded_list(smooth);
  return curve;
}

Json curves_json(const RunData& run, const ReportOptions& options) {
  const std::vector<StepBin> bins = step_bins(run.metrics.steps, options.curve_points);
  Json values = Json::object();
  for (const ReportStatistic& statistic : report_statistics()) {
    if (statistic.shape != StatisticShape::Scalar || statistic.section.empty()) continue;
    const auto found = run.metrics.scalars.find(statistic.id);
    if (found == run.metrics.scalars.end()) continue;
    values[std::string(statistic.id)] = curve_json(found->second, bins, statistic.id != "lr");
  }
  Json curves = bin_steps(bins, run.metrics.steps);
  curves["values"] = std::move(values);
  return curves;
}

Json validation_json(const RunData& run) {
  Json points = Json::array();
  const std::vector<double>* loss = find_scalar(run, "val_loss");
  for (std::size_t i = 0; loss != nullptr && i < loss->size(); ++i) {
    if (std::isfinite((*loss)[i])) points.push_back({run.metrics.steps[i], rounded((*loss)[i])});
  }
  return points;
}

Json spikes_json(const RunData& run, std::string_view id, const SpikeScore& score) {
  Json points = Json::array();
  const std::vector<double>* values = find_scalar(run, id);
  for (const std::int64_t index : score.indices) {
    const auto i = static_cast<std::size_t>(index);
    if (points.size() < kSpikes) points.push_back({run.metrics.steps[i], rounded((*values)[i])});
  }
  return {{"count", score.indices.size()}, {"percent", rounded(score.percent)}, {"points", points}};
}

Json growth_json(const RunData& run) {
  const RecordMatrix* variance = find_array(run, "profiles.stream.entry_variance");
  Json json = {{"step", Json::array()}, {"exponent", Json::array()}, {"low", Json::array()},
               {"high", Json::array()}, {"class", Json::array()},    {"text", Json::array()},
               {"basis", Json::array()}};
  if (variance == nullptr) return json;
  for (const std::size_t record : chosen_records(run.stability.steps, kGrowthRecords)) {
    const float* row = variance->row(record);
    const Growth growth = classify_growth(std::vector<double>(row, row + variance->columns));
    json["step"].push_back(run.stability.steps[record]);
    json["exponent"].push_back(rounded(growth.exponent));
    json["low"].push_back(rounded(growth.exponent_low));
    json["high"].push_back(rounded(growth.exponent_high));
    json["class"].push_back(growth_class_name(growth.growth_class));
    json["text"].push_back(growth_text(growth));
    json["basis"].push_back(growth_basis(growth));
  }
  return json;
}

Json ratio_json(const RunData& run, const ReportOptions& options) {
  const std::vector<double> ratios = gradient_ratios(run);
  if (ratios.empty()) return nullptr;
  const std::vector<StepBin> bins = step_bins(run.stability.steps, options.curve_points);
  Json json = bin_steps(bins, run.stability.steps);
  json["values"] = {{"gradient.ratio", curve_json(ratios, bins, false)}};
  return json;
}

Json events_json(const RunData& run) {
  Json list = Json::array();
  for (const RunEvent& event : run.events) {
    if (list.size() == kEvents) break;
    list.push_back({event.step, event.kind, event.text, event.time});
  }
  return {{"count", run.events.size()}, {"rows", list}};
}

Json settings_json(const RunData& run) {
  Json list = Json::array();
  for (const ConfigEntry& entry : chosen_settings(run))
    list.push_back({entry.key, entry.value, entry.origin});
  return list;
}

Json at_step(const std::optional<ValueAtStep>& value) {
  if (!value) return nullptr;
  return {{"value", rounded(value->value)}, {"step", value->step}};
}

Json growth_summary(const std::optional<Growth>& growth, std::int64_t step) {
  if (!growth) return nullptr;
  return {{"class", growth_class_name(growth->growth_class)},
          {"text", growth_text(*growth)},
          {"basis", growth_basis(*growth)},
          {"exponent", rounded(growth->exponent)},
          {"step", step}};
}

Json summary_json(const RunSummary& summary) {
  Json reasons = Json::array();
  for (const VerdictReason& reason : summary.reasons) {
    reasons.push_back({{"level", verdict_name(reason.level)}, {"text", reason.text}});
  }
  Json bound = nullptr;
  if (summary.bound) {
    bound = {{"share", rounded(summary.bound->share)},
             {"step", summary.bound->step},
             {"boundary", summary.bound->boundary}};
  }
  return {{"verdict", verdict_name(summary.verdict)},
          {"reasons", reasons},
          {"steps", summary.steps},
          {"planned_steps", summary.planned_steps},
          {"first_loss", rounded(summary.first_loss)},
          {"final_loss", rounded(summary.final_loss)},
          {"best_loss", rounded(summary.best_loss)},
          {"final_validation", at_step(summary.final_validation)},
          {"best_validation", at_step(summary.best_validation)},
          {"skipped_steps", summary.skipped_steps},
          {"monitor_percent", rounded(summary.monitor_percent)},
          {"max_abs", at_step(summary.max_abs)},
          {"first_growth", growth_summary(summary.first_growth, summary.first_growth_step)},
          {"last_growth", growth_summary(summary.last_growth, summary.last_growth_step)},
          {"gradient_ratio", at_step(summary.gradient_ratio)},
          {"worst_gradient_ratio", at_step(summary.worst_gradient_ratio)},
          {"bound", bound},
          {"outliers", summary.outliers.size()}};
}

std::string state_text(const RunData& run, const RunSummary& summary) {
  if (summary.steps == 0) return "no step logged yet";
  const std::string planned = summary.planned_steps > 0 ? fmt::format(" of {}", summary.planned_steps) : "";
  if (summary.planned_steps > 0 && summary.steps >= summary.planned_steps) {
    return fmt::format("finished: {} steps", summary.steps);
  }
  return fmt::format("{}: {}{} steps, last written {}",
                     run.written_lately ? "in progress" : "stopped early or killed", summary.steps, planned,
                     run.last_written);
}

Json run_json(RunData& run, const std::vector<std::string>& kinds, std::size_t map_columns,
              const ReportOptions& options) {
  const RunSummary summary = summarise_run(run);
  Json manifest = Json::object(), settings = Json::object();
  for (const auto& [key, value] : run.manifest) manifest[key] = value;
  for (const char* key : {"model.placement", "model.blocks", "model.width", "model.heads",
                          "model.sequence_length", "optimizer.learning_rate", "optimizer.clip_norm"}) {
    settings[key] = run.setting(key);
  }
  return {{"name", run.name},
          {"directory", run.directory.string()},
          {"state", state_text(run, summary)},
          {"notes", run.notes},
          {"manifest", manifest},
          {"settings", settings},
          {"chosen_settings", settings_json(run)},
          {"summary", summary_json(summary)},
          {"sublayers", run.sublayers},
          {"kinds", kinds},
          {"curves", curves_json(run, options)},
          {"validation", validation_json(run)},
          {"spikes",
           {{"loss", spikes_json(run, "loss", summary.loss_spikes)},
            {"grad_norm", spikes_json(run, "grad_norm", summary.gradient_spikes)}}},
          {"profile_steps", profile_steps(run, options)},
          {"profiles", profiles_json(run, options)},
          {"maps", maps_json(run, map_columns)},
          {"growth", growth_json(run)},
          {"gradient_ratio", ratio_json(run, options)},
          {"ranks", rank_document(run, summary.outliers)},
          {"events", events_json(run)}};
}

/// "a", "b", "a" -> "a (1)", "b", "a (2)".
void tell_names_apart(std::vector<RunData>& runs) {
  std::vector<std::string> names;
  for (const RunData& run : runs) names.push_back(run.name);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (std::count(names.begin(), names.end(), names[i]) < 2) continue;
    const auto before = std::count(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]);
    runs[i].name = fmt::format("{} ({})", names[i], before + 1);
  }
}

}  // namespace

std::string report_document(std::vector<RunData> runs, const ReportOptions& options) {
  tell_names_apart(runs);
  Json document = {{"generator", options.generator},
                   {"created", options.created},
                   {"statistics", statistics_json()},
                   {"runs", Json::array()},
                   {"verdict_rules",
                    {{"regular", verdict_rules(VerdictLevel::Regular)},
                     {"borderline", verdict_rules(VerdictLevel::Borderline)},
                     {"pathological", verdict_rules(VerdictLevel::Pathological)}}},
                   {"differences", Json::array()}};
  std::vector<std::vector<std::string>> kinds;
  for (RunData& run : runs) {
    kinds.push_back(add_tensor_groups(run));
  }
  const std::size_t columns = affordable_columns(runs, options);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    document["runs"].push_back(run_json(runs[i], kinds[i], columns, options));
  }
  for (const ConfigDifference& difference : config_differences(runs)) {
    document["differences"].push_back({{"key", difference.key}, {"values", difference.values}});
  }
  // Text from files may not be UTF-8: such bytes are replaced, not thrown at.
  std::string text = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string safe;
  safe.reserve(text.size());
  for (const char c : text) c == '<' ? safe.append("\\u003c") : safe.append(1, c);
  return safe;
}

}  // namespace plumb

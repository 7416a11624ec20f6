#include "sweep/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "config/toml_reader.h"
#include "version.h"

namespace plumb {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

/// Columns as wide as their widest entry, two blanks apart.
std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string loss_text(double loss) { return std::isnan(loss) ? "-" : fmt::format("{:.4f}", loss); }

/// JSON has no NaN: what is not there, or not finite, is null.
Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

/// The TOML value as JSON where that has it, else its text.
Json json_of(const std::string& toml) {
  const Json value = Json::parse(toml, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? Json(toml) : value;
}

Json cell_json(const SweepPlan& plan, const SweepCell& cell, const CellOutcome& outcome) {
  Json places = Json::object(), settings = Json::object();
  for (std::size_t axis = 0; axis < plan.axes.size(); ++axis) {
    if (!cell.values[axis].empty()) places[plan.axes[axis].name] = cell.values[axis];
  }
  for (const SweepSetting& setting : cell.settings) settings[setting.key] = json_of(setting.value);
  return {{"name", cell.name},
          {"places", places},
          {"settings", settings},
          {"run", cell.run.string()},
          {"config", cell.file.string()},
          {"output", plan.output_of(cell).string()},
          {"state", outcome.failed() ? "failed" : name_of(outcome.progress.state)},
          {"status", outcome.status},
          {"step", outcome.progress.step},
          {"steps", cell.loaded.config.training.steps},
          {"initial_loss", number(outcome.progress.initial_loss)},
          {"training_loss", number(outcome.progress.training_loss)},
          {"validation_loss", number(outcome.progress.validation_loss)}};
}

/// For a word of a shell's command line.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char character : text)
    out += character == '\'' ? std::string("'\\''") : std::string(1, character);
  return out + "'";
}

}  // namespace

std::string sweep_table(const SweepPlan& plan, const std::vector<CellOutcome>& outcomes) {
  Row header;
  for (const SweepAxis& axis : plan.axes) header.push_back(axis.name);
  if (plan.axes.empty()) header.push_back("cell");
  header.insert(header.end(), {"state", "step", "loss", "val_loss"});
  std::vector<Row> rows = {header};
  for (std::size_t i = 0; i < plan.cells.size(); ++i) {
    const SweepCell& cell = plan.cells[i];
    const CellProgress& progress = outcomes[i].progress;
    Row row;
    for (std::size_t axis = 0; axis < plan.axes.size(); ++axis) row.push_back(cell.place(axis));
    if (plan.axes.empty()) row.push_back(cell.name);
    row.insert(row.end(),
               {outcomes[i].text(), fmt::format("{}/{}", progress.step, cell.loaded.config.training.steps),
                loss_text(progress.training_loss), loss_text(progress.validation_loss)});
    rows.push_back(std::move(row));
  }
  return aligned(rows);
}

std::string sensitivity_table(const SweepPlan& plan, const std::vector<SensitivityOfCells>& sensitivities) {
  if (sensitivities.empty()) return "";
  Row header;
  for (const std::size_t axis : sensitivities.front().axes) header.push_back(plan.axes[axis].name);
  header.insert(header.end(), {"sensitivity", "best rate", "losses"});
  std::vector<Row> rows = {header};
  for (const SensitivityOfCells& entry : sensitivities) {
    Row row = entry.places;
    row.push_back(loss_text(entry.value));
    row.push_back(std::isnan(entry.best_rate) ? "-" : fmt::format("{}", entry.best_rate));
    row.push_back(entry.is_validation ? "validation" : "training");
    rows.push_back(std::move(row));
  }
  return "Sensitivity to the learning rate, E[min(l, l_0) - l*] in nats per token (arXiv 2309.14322):\n" +
         aligned(rows);
}

std::string sweep_json(const SweepPlan& plan, const std::vector<CellOutcome>& outcomes,
                       const std::vector<SensitivityOfCells>& sensitivities) {
  Json axes = Json::array(), cells = Json::array(), rates = Json::array();
  for (const SweepAxis& axis : plan.axes) {
    Json values = Json::array();
    for (const SweepChoice& choice : axis.choices) values.push_back(choice.value);
    axes.push_back({{"name", axis.name}, {"values", values}});
  }
  for (std::size_t i = 0; i < plan.cells.size(); ++i)
    cells.push_back(cell_json(plan, plan.cells[i], outcomes[i]));
  for (const SensitivityOfCells& entry : sensitivities) {
    Json places = Json::object(), losses = Json::array();
    for (std::size_t i = 0; i < entry.axes.size(); ++i)
      places[plan.axes[entry.axes[i]].name] = entry.places[i];
    for (const double loss : entry.losses) losses.push_back(number(loss));
    rates.push_back({{"places", places},
                     {"value", number(entry.value)},
                     {"best_rate", number(entry.best_rate)},
                     {"losses_of", entry.is_validation ? "validation" : "training"},
                     {"learning_rates", entry.rates},
                     {"losses", losses}});
  }
  const Json json = {{"config", plan.source},
                     {"plumb_version", version_number()},
                     {"git_revision", git_revision()},
                     {"axes", axes},
                     {"cells", cells},
                     {"learning_rate_sensitivity", rates}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string slurm_script(const SweepPlan& plan) {
  std::string text = fmt::format(
      "#!/usr/bin/env bash\n"
      "# The cells of {} as a job array: sbatch --ntasks-per-node=M THIS_FILE, from the top of the "
      "repository. Sent again,\n"
      "# it goes on with what is not finished. Afterwards `plumb sweep` with the same --output prints table "
      "and report.\n"
      "#SBATCH --job-name=plumb-sweep\n"
      "#SBATCH --array=0-{}\n"
      "#SBATCH --output={}/slurm-%A_%a.txt\n"
      "#SBATCH --signal=B:USR1@120\n"
      "lines=(\n",
      plan.source, plan.cells.size() - 1, plan.output_folder().string());
  for (const SweepCell& cell : plan.cells) text += fmt::format("  {}\n", quoted(cell.file.string()));
  return text + ")\nexec launch/slurm.sh \"${lines[$SLURM_ARRAY_TASK_ID]}\"\n";
}

}  // namespace plumb

#include "sweep/progress.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "checkpoint/atomic_directory.h"
#include "config/changes.h"
#include "export/run_logs.h"
#include "stability/absent.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void check_settings(const SweepCell& cell, const PresetProvider& presets) {
  const fs::path file = cell.run / "config.toml";
  if (!fs::exists(file)) return;
  const LoadedConfig begun = load_config(std::vector<fs::path>{file}, {}, presets);
  const std::vector<std::string> changes = changed_settings(begun.config, cell.loaded.config);
  if (changes.empty()) return;
  fail_input(
      "{}: holds a run with other settings ({}); remove the folder, or give the sweep another --output",
      cell.run.string(), changes.front());
}

const LogField* find(const LogTable& table, std::string_view path) {
  for (const LogField& field : table.fields) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

double mean_of_last(const std::vector<double>& values, std::size_t count) {
  double sum = 0;
  for (std::size_t i = values.size() - count; i < values.size(); ++i) sum += values[i];
  return sum / static_cast<double>(count);
}

void read_losses(const LogTable& metrics, CellProgress& progress) {
  progress.initial_loss = progress.training_loss = progress.validation_loss = kNone;
  if (const LogField* loss = find(metrics, "loss")) {
    const std::vector<double>& values = loss->values;
    if (metrics.steps.front() == 1) progress.initial_loss = values.front();
    progress.training_loss = mean_of_last(values, std::max<std::size_t>(1, values.size() / 20));
  }
  if (const LogField* loss = find(metrics, "val_loss")) {
    for (const double value : loss->values) {
      if (!is_absent(value)) progress.validation_loss = value;
    }
  }
}

bool has_checkpoint_of(const std::vector<StepDirectory>& checkpoints, std::int64_t step) {
  return std::any_of(checkpoints.begin(), checkpoints.end(), [&](const StepDirectory& checkpoint) {
    return checkpoint.step == step && fs::exists(checkpoint.path / "manifest.json");
  });
}

}  // namespace

const char* name_of(CellState state) {
  switch (state) {
    case CellState::New:
      return "new";
    case CellState::Begun:
      return "begun";
    case CellState::Lost:
      return "starts anew";
    case CellState::Finished:
      return "finished";
  }
  fail("an unknown state of a cell");
}

CellProgress read_progress(const SweepCell& cell, const PresetProvider& presets) {
  check_settings(cell, presets);
  CellProgress progress;
  const LogTable metrics = read_metrics(cell.run);
  read_losses(metrics, progress);
  if (!metrics.steps.empty()) progress.step = metrics.steps.back();
  const std::vector<StepDirectory> checkpoints = list_step_directories(cell.run / "checkpoints");
  const Config& config = cell.loaded.config;
  const bool is_saved = !config.checkpoint.at_end || has_checkpoint_of(checkpoints, config.training.steps);
  if (progress.step >= config.training.steps && is_saved) {
    progress.state = CellState::Finished;
  } else if (!checkpoints.empty()) {
    progress.state = CellState::Begun;
  } else if (progress.step > 0) {
    progress.state = CellState::Lost;
  }
  return progress;
}

}  // namespace plumb

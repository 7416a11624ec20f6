#include "report/run_summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "report/downsample.h"
#include "report/verdict.h"

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// An odd number of steps: 1 %, at least 11 and at most all.
std::size_t smoothing_width(std::size_t steps) {
  return std::min(std::max<std::size_t>(steps / 100, 10), steps) | 1U;
}

void summarise_loss(const RunData& run, RunSummary& summary) {
  const std::vector<double>* loss = find_scalar(run, "loss");
  if (loss == nullptr || loss->empty()) return;
  const std::size_t width = std::min(smoothing_width(loss->size()), loss->size());
  summary.first_loss = loss->front();
  // Unlike a mean over what is finite: a run that ends in NaN has no final loss.
  double sum = 0;
  for (std::size_t i = loss->size() - width; i < loss->size(); ++i) sum += (*loss)[i];
  summary.final_loss = sum / static_cast<double>(width);
  const std::vector<double> smooth = moving_median(*loss, width);
  summary.best_loss = kNaN;
  // At the ends the window is short and its median is noise.
  for (std::size_t i = width / 2; i + width / 2 < smooth.size(); ++i) {
    if (!(smooth[i] >= summary.best_loss)) summary.best_loss = smooth[i];
  }
}

void summarise_validation(const RunData& run, RunSummary& summary) {
  const std::vector<double>* values = find_scalar(run, "val_loss");
  if (values == nullptr) return;
  for (std::size_t i = 0; i < values->size(); ++i) {
    const double value = (*values)[i];
    if (!std::isfinite(value)) continue;
    summary.final_validation = {value, run.metrics.steps[i]};
    if (!summary.best_validation || value < summary.best_validation->value) {
      summary.best_validation = summary.final_validation;
    }
  }
}

void summarise_spikes(const RunData& run, RunSummary& summary) {
  const std::vector<double>*loss = find_scalar(run, "loss"), *norm = find_scalar(run, "grad_norm");
  if (loss == nullptr || norm == nullptr) return;
  summary.loss_spikes = spike_score(*loss, kOlmoSpikeScore);
  summary.gradient_spikes = spike_score(*norm, kOlmoSpikeScore);
  SpikeDetector loss_monitor(kOlmoStabilityMonitor), norm_monitor(kOlmoStabilityMonitor);
  std::size_t spikes = 0;
  for (std::size_t i = 0; i < loss->size(); ++i) {
    const bool loss_spike = loss_monitor.observe((*loss)[i]), norm_spike = norm_monitor.observe((*norm)[i]);
    spikes += loss_spike || norm_spike;
  }
  const double judged = std::max(static_cast<double>(loss->size()) - kOlmoStabilityMonitor.minimum, 1.0);
  summary.monitor_percent = 100 * static_cast<double>(spikes) / judged;
}

void summarise_growth(const RunData& run, RunSummary& summary) {
  const RecordMatrix* variance = find_array(run, "profiles.stream.entry_variance");
  if (variance == nullptr || variance->rows() == 0) return;
  const auto classify = [&](std::size_t row) {
    return classify_growth(std::vector<double>(variance->row(row), variance->row(row) + variance->columns));
  };
  summary.first_growth = classify(0);
  summary.first_growth_step = run.stability.steps.front();
  summary.last_growth = classify(variance->rows() - 1);
  summary.last_growth_step = run.stability.steps.back();
}

void summarise_gradients(const RunData& run, RunSummary& summary) {
  const std::vector<double> ratios = gradient_ratios(run);
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    if (!std::isfinite(ratios[i]) || ratios[i] <= 0) continue;
    summary.gradient_ratio = {ratios[i], run.stability.steps[i]};
    const auto& worst = summary.worst_gradient_ratio;
    if (!worst || std::abs(std::log(ratios[i])) > std::abs(std::log(worst->value))) {
      summary.worst_gradient_ratio = summary.gradient_ratio;
    }
  }
}

void summarise_bounds(const RunData& run, RunSummary& summary) {
  const RecordMatrix* shares = find_array(run, "bounds.share");
  if (shares == nullptr) return;
  for (std::size_t i = 0; i < shares->rows(); ++i) {
    // Boundary 0 is what the bound starts from.
    for (std::size_t k = 1; k < shares->columns; ++k) {
      const double share = shares->row(i)[k];
      if (std::isnan(share) || (summary.bound && share <= summary.bound->share)) continue;
      summary.bound = {share, run.stability.steps[i], k};
    }
  }
}

void summarise_steps(const RunData& run, RunSummary& summary) {
  summary.steps = run.metrics.steps.empty() ? 0 : run.metrics.steps.back();
  summary.planned_steps = run.whole_setting("training.steps");
  if (const auto* skipped = find_scalar(run, "skipped")) {
    for (const double value : *skipped) summary.skipped_steps += value > 0;
  }
  if (const auto* largest = find_scalar(run, "max_abs")) {
    for (std::size_t i = 0; i < largest->size(); ++i) {
      const double value = (*largest)[i];
      if (std::isfinite(value) && (!summary.max_abs || value > summary.max_abs->value)) {
        summary.max_abs = {value, run.metrics.steps[i]};
      }
    }
  }
}

}  // namespace

std::vector<double> gradient_ratios(const RunData& run) {
  std::vector<double> ratios;
  const RecordMatrix* norms = find_array(run, "profiles.stream.gradient_norm");
  if (norms == nullptr) return ratios;
  for (std::size_t i = 0; i < norms->rows(); ++i) {
    ratios.push_back(static_cast<double>(norms->row(i)[0]) / norms->row(i)[norms->columns - 1]);
  }
  return ratios;
}

RunSummary summarise_run(const RunData& run) {
  RunSummary summary;
  summarise_steps(run, summary);
  summarise_loss(run, summary);
  summarise_validation(run, summary);
  summarise_spikes(run, summary);
  summarise_growth(run, summary);
  summarise_gradients(run, summary);
  summarise_bounds(run, summary);
  if (const RecordMatrix* norms = find_array(run, "ranks.grad_norm"))
    summary.outliers = rank_outliers(*norms);
  judge(run, summary);
  return summary;
}

}  // namespace plumb

#include "theory/step_table.h"

#include <cmath>
#include <limits>
#include <utility>

#include "theory/branch_moments.h"

namespace plumb {
namespace {

double worst_rms(const ResolvedModel& model, double start_variance, double step) {
  double rms = std::sqrt(start_variance);
  for (const ResolvedSublayer& sublayer : model.sublayers) {
    const SublayerNorms& norms = sublayer.config.norm;
    const NormKind out = norm_kind_of(norms.out, model.config);
    const bool fits = (out == NormKind::LayerNorm || out == NormKind::RmsNorm) &&
                      norm_kind_of(norms.post, model.config) == NormKind::None &&
                      sublayer.config.residual.a == KnobConfig{} && sublayer.config.residual.e.value == 0 &&
                      sublayer.config.residual.p == KnobConfig{};
    if (!fits || !model.other_streams().empty()) return std::numeric_limits<double>::quiet_NaN();
    rms += step * std::abs(norms.out.gain ? norms.out.gain_init : 1);
  }
  return rms;
}

}  // namespace

std::vector<StepChoice> step_choices(std::int64_t sublayers) {
  const auto count = static_cast<double>(sublayers);
  return {{"1", 1}, {"0.5", 0.5}, {"0.1", 0.1}, {"1/sqrt(K)", 1 / std::sqrt(count)}, {"1/K", 1 / count}};
}

std::vector<StepRow> step_table(const ModelConfig& config, const PredictionStart& start) {
  const std::int64_t sublayers = config.blocks * static_cast<std::int64_t>(config.block.size());
  std::vector<StepRow> rows;
  for (StepChoice& choice : step_choices(sublayers)) {
    const ResolvedModel model = resolve_model(with_constant_step(config, choice.step));
    const double variance = start.variance.value_or(embedding_variance(config, start.training));
    StepRow row;
    row.time = static_cast<double>(sublayers) * choice.step;
    row.worst_rms = worst_rms(model, variance, choice.step);
    row.prediction = predict_depth(model, start);
    row.choice = std::move(choice);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace plumb

// The numbers by which runs are compared, and a verdict in words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "report/rank_outliers.h"
#include "report/run_data.h"
#include "stability/growth_class.h"
#include "stability/spike_score.h"

namespace plumb {

enum class VerdictLevel { Regular, Borderline, Pathological };
std::string verdict_name(VerdictLevel level);

struct VerdictReason {
  VerdictLevel level = VerdictLevel::Regular;
  std::string text;
};

struct ValueAtStep {
  double value = 0;
  std::int64_t step = 0;
};

/// Largest |x_k| / bound_k of a run.
struct BoundUse {
  double share = 0;  ///< 1 = the bound is reached
  std::int64_t step = 0;
  std::size_t boundary = 0;
};

struct RunSummary {
  std::int64_t steps = 0;          ///< the last step logged
  std::int64_t planned_steps = 0;  ///< of the configuration; 0 when not known
  double first_loss = 0;
  double final_loss = 0;  ///< mean over the last 1 % of the steps, at least 10 of them
  double best_loss = 0;   ///< smallest moving median over as many steps
  std::optional<ValueAtStep> final_validation, best_validation;
  double skipped_steps = 0;
  SpikeScore loss_spikes, gradient_spikes;  ///< kOlmoSpikeScore
  double monitor_percent = 0;  ///< steps at which loss or gradient norm is a spike by kOlmoStabilityMonitor
  std::optional<ValueAtStep> max_abs;
  std::optional<Growth> first_growth, last_growth;  ///< entry-wise variance of the stream
  std::int64_t first_growth_step = 0, last_growth_step = 0;
  std::optional<ValueAtStep> gradient_ratio;        ///< |dL/dx_0| / |dL/dx_K|, last record
  std::optional<ValueAtStep> worst_gradient_ratio;  ///< farthest from 1
  std::optional<BoundUse> bound;
  std::vector<RankOutlier> outliers;  ///< of ranks.jsonl
  VerdictLevel verdict = VerdictLevel::Regular;
  std::vector<VerdictReason> reasons;  ///< worst first
};

RunSummary summarise_run(const RunData& run);

/// By record of the stability log: norm of dL/dx at the first boundary over that at the last; NaN where not
/// logged.
std::vector<double> gradient_ratios(const RunData& run);

}  // namespace plumb

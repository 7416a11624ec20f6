// Rows of the table: how branches lie to the stream.
#include <cmath>

#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_sources.h"

namespace plumb::detail {
namespace {

using log_file::kStability;

// |x + b z|^2 = |x|^2 (1 + rho^2 + 2 rho kappa) row by row; block influence of arXiv 2403.03853 is 1 - cos(x,
// x').
constexpr std::string_view kSource = "defined here; compare arXiv 2403.03853";

/// Mean over the rows that have an angle.
double mean_over_rows(const StepSources& sources, std::int64_t k, AlignmentScalar scalar) {
  if (!sources.shape().has_alignment) return kAbsent;
  const auto sum = [&](AlignmentScalar which) {
    return sources.summed(kAlignmentPart, k * kAlignmentScalars + which);
  };
  const double rows =
      sources.moment(sources.shape().sublayers + 1 + k, kMomentRows) - sum(kAlignmentZeroRows);
  return rows == 0 ? kAbsent : sum(scalar) / rows;
}

/// Root of the mean square of one factor of b; 1 where b has no such factor.
double factor(const StepSources& sources, std::int64_t k, std::int64_t which) {
  const std::int64_t first = (2 * k + which) * kMomentScalars;
  const double entries = sources.common(kStepPart, first + kMomentRows);
  return entries == 0 ? 1 : std::sqrt(sources.common(kStepPart, first + kMomentSumSquares) / entries);
}

double step(const StepSources& sources, std::int64_t k) {
  return factor(sources, k, 0) * factor(sources, k, 1);
}

double ratio(const StepSources& sources, std::int64_t k) {
  return mean_over_rows(sources, k, kAlignmentRatio);
}

constexpr Statistic kRows[] = {
    {kStability, "residual.step",
     "|b| of the sublayer in this step: root of its mean square over features, without the draws of "
     "stochastic "
     "depth",
     "1", Probe::Sublayer, "mean of squares", kSameOnAll, "arXiv 2510.09904 (Delta t)", step},
    {kStability, "residual.ratio",
     "mean over rows m of |z_m| / |x_m|, x the stream before the branch z is added; rows in which either is "
     "0 do "
     "not count",
     "1", Probe::Sublayer, "mean", kAllRanks, kDefinedHere, ratio},
    {kStability, "residual.rho", "residual.step times residual.ratio", "1", Probe::Sublayer, "mean",
     kAllRanks, kSource,
     [](const StepSources& sources, std::int64_t k) {
       const double per_step = ratio(sources, k);
       return is_absent(per_step) ? kAbsent : step(sources, k) * per_step;
     }},
    {kStability, "residual.kappa", "mean over the same rows of cos(x_m, z_m)", "1", Probe::Sublayer, "mean",
     kAllRanks, kSource, alignment_kappa},
};

}  // namespace

double alignment_kappa(const StepSources& sources, std::int64_t k) {
  return mean_over_rows(sources, k, kAlignmentCosine);
}

std::span<const Statistic> residual_rows() { return kRows; }

}  // namespace plumb::detail

// Rows of the table: norms and what they train.
#include <cmath>

#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_sources.h"

namespace plumb::detail {
namespace {

using log_file::kStability;

enum Kind : int { kGain = 0, kBias };

double moment(const StepSources& sources, Kind kind, std::int64_t norm, MomentScalar scalar) {
  return sources.common(kNormsPart, (2 * norm + kind) * kMomentScalars + scalar);
}

/// Their number; 0 where the norm has none.
double entries(const StepSources& sources, Kind kind, std::int64_t norm) {
  return static_cast<double>(sources.shape().norm_entries[static_cast<std::size_t>(2 * norm + kind)]);
}

template <Kind kind>
double mean(const StepSources& sources, std::int64_t norm) {
  const double count = entries(sources, kind, norm);
  return count == 0 ? kAbsent : moment(sources, kind, norm, kMomentSum) / count;
}

// The parameters are one row of a tensor: its variance is theirs.
template <Kind kind>
double standard_deviation(const StepSources& sources, std::int64_t norm) {
  if (entries(sources, kind, norm) == 0) return kAbsent;
  return std::sqrt(moment(sources, kind, norm, kMomentSumRowVariance));
}

template <Kind kind>
double max_abs(const StepSources& sources, std::int64_t norm) {
  return entries(sources, kind, norm) == 0 ? kAbsent : moment(sources, kind, norm, kMomentMaxAbs);
}

/// Rows of the batch, all ranks: every branch has one for each token.
double tokens(const StepSources& sources) {
  return sources.moment(sources.shape().sublayers + 1, kMomentRows);
}

double small_variance(const StepSources& sources, std::int64_t norm) {
  const std::int64_t vectors = count_at(sources.shape().norm_vectors, norm);
  if (vectors == 0) return kAbsent;
  return sources.summed(kSmallVectorsPart, norm) / (static_cast<double>(vectors) * tokens(sources));
}

double saturation(const StepSources& sources, std::int64_t norm) {
  const std::int64_t entries = count_at(sources.shape().norm_bounded, norm);
  if (entries == 0) return kAbsent;
  return sources.summed(kSaturatedPart, norm) / (static_cast<double>(entries) * tokens(sources));
}

constexpr Statistic kRows[] = {
    {kStability, "norms.gain.mean", "mean of the entries of a norm's gain, before the update", "1",
     Probe::Norm, "mean", kSameOnAll, kDefinedHere, mean<kGain>},
    {kStability, "norms.gain.std", "their standard deviation (of the population)", "1", Probe::Norm, "mean",
     kSameOnAll, kDefinedHere, standard_deviation<kGain>},
    {kStability, "norms.gain.max_abs", "the largest absolute value of them", "1", Probe::Norm, "max",
     kSameOnAll, kDefinedHere, max_abs<kGain>},
    {kStability, "norms.bias.mean", "mean of the entries of a norm's bias, before the update", "activation",
     Probe::Norm, "mean", kSameOnAll, kDefinedHere, mean<kBias>},
    {kStability, "norms.bias.std", "their standard deviation (of the population)", "activation", Probe::Norm,
     "mean", kSameOnAll, kDefinedHere, standard_deviation<kBias>},
    {kStability, "norms.bias.max_abs", "the largest absolute value of them", "activation", Probe::Norm, "max",
     kSameOnAll, kDefinedHere, max_abs<kBias>},
    Statistic{kStability, "norms.small_variance",
              "share of the rows (of the heads' parts of rows, where a norm acts on them) whose variance is "
              "below 10 eps, so that eps decides what the norm gives; of rmsnorm the mean square, of l2 the "
              "sum of squares instead. Absent for dyt and derf",
              "1", Probe::Norm, "share", kAllRanks, kDefinedHere, small_variance}
        .with_key("small_variance"),
    Statistic{kStability, "norms.saturation",
              "share of the entries with |alpha x| > 2 (dyt), |alpha x + s| > 2 (derf), where the function "
              "is flat. Absent for other norms",
              "1", Probe::Norm, "share", kAllRanks, "arXiv 2604.23434", saturation}
        .with_key("saturation")
        .at_detailed_records(),
};

}  // namespace

std::span<const Statistic> norm_rows() { return kRows; }

}  // namespace plumb::detail

// Rows of the table: profiles of stream and branches over depth.
#include <array>
#include <cmath>

#include "backend/magnitude_bins.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_sources.h"

namespace plumb::detail {
namespace {

using log_file::kStability;

constexpr double kLargestFloat16 = 65504;
constexpr std::string_view kPaper = "names: arXiv 2510.09904; formulas inferred";

template <TrackedValue value>
double interval_minimum(const StepSources& sources, std::int64_t probe) {
  return sources.interval_minimum(probe, value);
}

template <TrackedValue value>
double interval_maximum(const StepSources& sources, std::int64_t probe) {
  return sources.interval_maximum(probe, value);
}

double entry_variance(const StepSources& sources, std::int64_t probe) {
  return sources.moment(probe, kMomentSumRowVariance) / sources.moment(probe, kMomentRows);
}

double data_variance(const StepSources& sources, std::int64_t probe) {
  const std::int64_t width = sources.shape().width;
  double total = 0;
  for (std::int64_t i = 0; i < width; ++i) total += sources.column_variance(probe, i);
  return total / static_cast<double>(width);
}

double gradient_norm(const StepSources& sources, std::int64_t probe) {
  return std::sqrt(sources.summed(kGradientPart, probe));
}

// E[x^2] per feature, from the moments about the shift: the variance about the mean, and the mean.
double feature_kurtosis(const StepSources& sources, std::int64_t probe) {
  const std::int64_t width = sources.shape().width;
  double sum = 0, sum_of_squares = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const double mean = sources.column_mean(probe, i);
    const double square = sources.column_variance(probe, i) + mean * mean;
    sum += square;
    sum_of_squares += square * square;
  }
  return sum == 0 ? kAbsent : static_cast<double>(width) * sum_of_squares / (sum * sum);
}

double kurtosis(const StepSources& sources, std::int64_t probe) {
  const double squares = sources.moment(probe, kMomentSumSquares);
  return squares == 0
             ? kAbsent
             : sources.moment(probe, kMomentSumFourth) * sources.entries(probe) / (squares * squares);
}

double massive_ratio(const StepSources& sources, std::int64_t probe) {
  std::array<double, kMagnitudeBins> counts;
  for (int bin = 0; bin < kMagnitudeBins; ++bin)
    counts[static_cast<std::size_t>(bin)] = sources.summed(kMagnitudesPart, probe * kMagnitudeBins + bin);
  const double median = magnitude_median(counts);
  return median > 0 && std::isfinite(median) ? sources.max_abs(probe) / median : kAbsent;
}

double token_similarity(const StepSources& sources, std::int64_t probe) {
  const auto sum = [&](SimilaritySum which) {
    return sources.summed(kSimilarityPart, probe * kSimilaritySums + which);
  };
  return sum(kSimilaritySequences) == 0 ? kAbsent : sum(kSimilarity) / sum(kSimilaritySequences);
}

// From half the depth on, where the stream has left its start behind.
double growth_exponent(const StepSources& sources, std::int64_t) {
  const std::int64_t last = sources.shape().sublayers, half = last / 2;
  if (half == 0) return kAbsent;
  const double ratio = entry_variance(sources, last) / entry_variance(sources, half);
  return ratio == 0 || std::isnan(ratio)
             ? kAbsent
             : std::log(ratio) / std::log(static_cast<double>(last) / static_cast<double>(half));
}

double gradient_bottom_top(const StepSources& sources, std::int64_t) {
  const double top = gradient_norm(sources, sources.shape().sublayers);
  return top == 0 ? kAbsent : gradient_norm(sources, 0) / top;
}

constexpr Statistic kRows[] = {
    Statistic{
        kStability, "step", "as in metrics.jsonl", "steps", Probe::Step, kNoRows, kSameOnAll, kDefinedHere,
        [](const StepSources& sources, std::int64_t) { return static_cast<double>(sources.scalars().step); }}
        .as(Form::Integer),
    {kStability, "profiles.{stream,branch}.mean_abs", "(1/(M C)) sum over rows m and features i of |x_mi|",
     "activation", Probe::Activations, "mean", kAllRanks, kPaper,
     [](const StepSources& sources, std::int64_t probe) {
       return sources.moment(probe, kMomentSumAbs) / sources.entries(probe);
     }},
    {kStability, "profiles.{stream,branch}.entry_variance",
     "mean over rows m of Var_i(x_mi), about the row's own mean", "activation^2", Probe::Activations, "mean",
     kAllRanks, kPaper, entry_variance},
    {kStability, "profiles.{stream,branch}.data_variance",
     "mean over features i of Var_m(x_mi), over the rows of all ranks (exact: from column sums about the "
     "column mean of an earlier sampled step)",
     "activation^2", Probe::Activations, "variance", kAllRanks, kPaper, data_variance},
    {kStability, "profiles.{stream,branch}.max_abs", "max |x_mi|", "activation", Probe::Activations, "max",
     kMaxOverAll, kDefinedHere,
     [](const StepSources& sources, std::int64_t probe) { return sources.max_abs(probe); }},
    {kStability, "profiles.{stream,branch}.fp16_range_used",
     "max |x_mi| / 65504, the largest number that fp16 has: head-room is what is missing to 1", "1",
     Probe::Activations, "max", kMaxOverAll, "arXiv 2502.02732",
     [](const StepSources& sources, std::int64_t probe) { return sources.max_abs(probe) / kLargestFloat16; }},
    {kStability, "profiles.{stream,branch}.rms", "sqrt((1/(M C)) sum x_mi^2)", "activation",
     Probe::Activations, "mean of squares", kAllRanks, kDefinedHere,
     [](const StepSources& sources, std::int64_t probe) {
       return std::sqrt(sources.moment(probe, kMomentSumSquares) / sources.entries(probe));
     }},
    {kStability, "profiles.{stream,branch}.max_row_norm", "max over rows m of the 2-norm of the row",
     "activation", Probe::Activations, "max", kMaxOverAll, kDefinedHere,
     [](const StepSources& sources, std::int64_t probe) { return std::sqrt(sources.max_row_square(probe)); }},
    {kStability, "profiles.{stream,branch}.gradient_norm",
     "Frobenius norm of dL/dx over the rows of the global batch, L = mean loss over its targets, z-loss "
     "included",
     "loss / activation", Probe::Activations, "sum of squares", kAllRanks, "arXiv 2002.04745, 2510.09904",
     gradient_norm},
    {kStability, "profiles.{stream,branch}.gradient_max_row_norm",
     "max over rows m of the 2-norm of row m of the same dL/dx", "loss / activation", Probe::Activations,
     "max", kMaxOverAll, kDefinedHere,
     [](const StepSources& sources, std::int64_t probe) {
       return std::sqrt(sources.largest(kGradientRowPart, probe));
     }},
    {kStability, "profiles.{stream,branch}.overflows",
     "number of entries that fp16 cannot hold, in all steps since the record before, this one included",
     "entries", Probe::Activations, "count", kAllRanks, "arXiv 1710.03740",
     [](const StepSources& sources, std::int64_t probe) { return sources.moment(probe, kMomentOverflows); }},
    {kStability, "profiles.{stream,branch}.interval_min.mean_abs",
     "smallest mean_abs that any rank had on its own rows in any step since the record before, this one "
     "included",
     "activation", Probe::Activations, "mean", kMinOverAll, kDefinedHere, interval_minimum<kTrackedMeanAbs>},
    {kStability, "profiles.{stream,branch}.interval_min.entry_variance", "the same of entry_variance",
     "activation^2", Probe::Activations, "mean", kMinOverAll, kDefinedHere,
     interval_minimum<kTrackedEntryVariance>},
    {kStability, "profiles.{stream,branch}.interval_min.max_abs", "the same of max_abs", "activation",
     Probe::Activations, "max", kMinOverAll, kDefinedHere, interval_minimum<kTrackedMaxAbs>},
    {kStability, "profiles.{stream,branch}.interval_max.mean_abs", "largest instead of smallest",
     "activation", Probe::Activations, "mean", kMaxOverAll, kDefinedHere, interval_maximum<kTrackedMeanAbs>},
    {kStability, "profiles.{stream,branch}.interval_max.entry_variance", "largest instead of smallest",
     "activation^2", Probe::Activations, "mean", kMaxOverAll, kDefinedHere,
     interval_maximum<kTrackedEntryVariance>},
    {kStability, "profiles.{stream,branch}.interval_max.max_abs", "largest instead of smallest", "activation",
     Probe::Activations, "max", kMaxOverAll, kDefinedHere, interval_maximum<kTrackedMaxAbs>},
    Statistic{
        kStability, "profiles.{stream,branch}.feature_kurtosis",
        "mean_i[(mean_m x_mi^2)^2] / (mean_i mean_m x_mi^2)^2: 1 = all features alike, C = one feature has "
        "all",
        "1", Probe::Activations, "mean of squares", kAllRanks, "arXiv 2405.19279", feature_kurtosis}
        .with_key("kurtosis"),
    Statistic{kStability, "profiles.{stream,branch}.fourth_moment", "(1/(M C)) sum x_mi^4", "activation^4",
              Probe::Activations, "mean", kAllRanks, kDefinedHere,
              [](const StepSources& sources, std::int64_t probe) {
                return sources.moment(probe, kMomentSumFourth) / sources.entries(probe);
              }}
        .with_key("kurtosis"),
    Statistic{kStability, "profiles.{stream,branch}.kurtosis",
              "fourth_moment / rms^4, about zero: 3 of a normal distribution; absent while rms is 0", "1",
              Probe::Activations, "mean", kAllRanks, "arXiv 2405.19279", kurtosis}
        .with_key("kurtosis"),
    Statistic{
        kStability, "profiles.{stream,branch}.massive_ratio",
        "max_abs / median over m and i of |x_mi|, the median to within 6.1 %: the geometric mean of the ends "
        "of its bin, eight bins for every power of two. From about 1000 on, with max_abs above 100, entries "
        "are called massive activations. Absent where the median is below 2^-24 or from 2^24 on",
        "1", Probe::Activations, "max, median", kAllRanks, "arXiv 2402.17762", massive_ratio}
        .with_key("massive_activations")
        .at_detailed_records(),
    Statistic{
        kStability, "profiles.{stream,branch}.token_similarity",
        "mean over sequences of the mean over pairs s != t of their tokens of cos(x_s, x_t): 1 = all tokens "
        "alike. A row of zeros has a cosine of 0; of several streams each has sequences of its own",
        "1", Probe::Activations, "mean", kAllRanks, kDefinedHere, token_similarity}
        .with_key("token_similarity")
        .at_detailed_records(),
    {kStability, "growth_exponent",
     "log(Var_K / Var_h) / log(K / h), h = K/2 rounded down, Var = profiles.stream.entry_variance: the "
     "exponent p where the variance grows like depth^p in the upper half; 1 = branches that have nothing in "
     "common, 2 = aligned ones, more = growing weights",
     "1", Probe::Step, "mean", kAllRanks, "defined here; compare arXiv 2510.09904", growth_exponent},
    {kStability, "gradient_bottom_top",
     "|dL/dx_0| / |dL/dx_K|: profiles.stream.gradient_norm of the first entry over that of the last; absent "
     "while the latter is 0",
     "1", Probe::Step, "sum of squares", kAllRanks, "arXiv 2002.04745, 2510.09904", gradient_bottom_top},
};

}  // namespace

std::span<const Statistic> activation_rows() { return kRows; }

}  // namespace plumb::detail

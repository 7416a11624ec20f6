// Rows of the table: trainable tensors.
#include <cmath>

#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_sources.h"

namespace plumb::detail {
namespace {

using log_file::kStability;

template <double RankSpread::*member>
double local_norm(const StepSources& sources, std::int64_t tensor) {
  return sources.local_spread(tensor).*member;
}

double adam_lag(const StepSources& sources, std::int64_t tensor) { return sources.adam_lag(tensor); }

double update_ratio(const StepSources& sources, std::int64_t tensor) {
  const double old = sources.parameter_square(tensor);
  return old == 0 ? kAbsent : std::sqrt(sources.update_square(tensor)) / std::sqrt(old);
}

double dominated_share(const StepSources& sources, std::int64_t tensor) {
  const std::int64_t entries = count_at(sources.shape().tensor_entries, tensor);
  const double dominated = sources.eps_dominated(tensor);
  return entries == 0 || is_absent(dominated) ? kAbsent : dominated / static_cast<double>(entries);
}

constexpr Statistic kRows[] = {
    {kStability, "tensors.grad_norm", "2-norm of the reduced gradient of a tensor, before clipping",
     "loss / parameter", Probe::Tensor, kNoRows, kAllRanks, kDefinedHere,
     [](const StepSources& sources, std::int64_t tensor) {
       return std::sqrt(sources.reduced_square(tensor));
     }},
    Statistic{kStability, "tensors.grad_norm_local.min",
              "before reduction: smallest over ranks of |g_r|, the 2-norm of the mean gradient over the "
              "rank's own targets. Absent with one rank, as are the four below",
              "loss / parameter", Probe::Tensor, kNoRows, kMinOverAll, kDefinedHere,
              local_norm<&RankSpread::minimum>}
        .of_several_ranks(),
    Statistic{kStability, "tensors.grad_norm_local.mean", "mean over ranks of |g_r|", "loss / parameter",
              Probe::Tensor, kNoRows, kAllRanks, kDefinedHere, local_norm<&RankSpread::mean>}
        .of_several_ranks(),
    Statistic{kStability, "tensors.grad_norm_local.max", "largest |g_r|", "loss / parameter", Probe::Tensor,
              kNoRows, kMaxOverAll, kDefinedHere, local_norm<&RankSpread::maximum>}
        .of_several_ranks(),
    Statistic{kStability, "tensors.grad_norm_local.std",
              "standard deviation over ranks of |g_r| (of the population)", "loss / parameter", Probe::Tensor,
              kNoRows, kAllRanks, kDefinedHere, local_norm<&RankSpread::standard_deviation>}
        .of_several_ranks(),
    Statistic{kStability, "tensors.grad_norm_local.argmax_rank", "the lowest rank with the largest |g_r|",
              "rank", Probe::Tensor, kNoRows, kAllRanks, kDefinedHere,
              [](const StepSources& sources, std::int64_t tensor) {
                return static_cast<double>(sources.local_spread(tensor).argmax);
              }}
        .as(Form::Integer)
        .of_several_ranks(),
    {kStability, "tensors.update_ratio", "|new - old| / |old| of a tensor; null while |old| = 0", "1",
     Probe::Tensor, kNoRows, kSameOnAll, kDefinedHere, update_ratio},
    {kStability, "tensors.parameter_norm", "2-norm of a tensor before the update", "parameter", Probe::Tensor,
     kNoRows, kSameOnAll, kDefinedHere,
     [](const StepSources& sources, std::int64_t tensor) {
       return std::sqrt(sources.parameter_square(tensor));
     }},
    {kStability, "tensors.adam_lag",
     "RMS_t = root of the mean over a tensor's entries of g^2 / max(v, eps^2), g the clipped gradient and v "
     "the second moment after this step, both as AdamW uses them (v free of its bias): 1 = v keeps up, far "
     "above 1 = it lags, which comes before spikes. Absent of a skipped step and without AdamW",
     "1", Probe::Tensor, kNoRows, kSameOnAll, "arXiv 2304.13013", adam_lag},
    Statistic{kStability, "tensors.update_norm", "|new - old|, the 2-norm of a tensor's update", "parameter",
              Probe::Tensor, kNoRows, kSameOnAll, kDefinedHere,
              [](const StepSources& sources, std::int64_t tensor) {
                return std::sqrt(sources.update_square(tensor));
              }}
        .with_key("updates"),
    Statistic{kStability, "tensors.eps_dominance",
              "share of a tensor's entries with sqrt(v) < eps, v as in adam_lag: eps is then most of the "
              "denominator of their update. Absent as adam_lag is",
              "1", Probe::Tensor, kNoRows, kSameOnAll, "arXiv 2309.14322", dominated_share}
        .with_key("updates"),
    Statistic{kStability, "tensors.grad_dispersion", "grad_norm_local.std / grad_norm_local.mean", "1",
              Probe::Tensor, kNoRows, kAllRanks, kDefinedHere,
              [](const StepSources& sources, std::int64_t tensor) {
                const RankSpread spread = sources.local_spread(tensor);
                return spread.mean == 0 ? kAbsent : spread.standard_deviation / spread.mean;
              }}
        .of_several_ranks(),
    Statistic{kStability, "tensors.grad_agreement", "as in metrics.jsonl, of one tensor", "1", Probe::Tensor,
              kNoRows, kAllRanks, kNoise,
              [](const StepSources& sources, std::int64_t tensor) {
                return sources.tensor_noise(tensor).agreement;
              }}
        .of_several_ranks(),
    Statistic{
        kStability, "tensors.noise_square", "as in metrics.jsonl, of one tensor", "(loss / parameter)^2",
        Probe::Tensor, kNoRows, kAllRanks, kNoise,
        [](const StepSources& sources, std::int64_t tensor) { return sources.tensor_noise(tensor).square; }}
        .of_several_ranks(),
    Statistic{
        kStability, "tensors.noise_trace", "as in metrics.jsonl, of one tensor", "(loss / parameter)^2",
        Probe::Tensor, kNoRows, kAllRanks, kNoise,
        [](const StepSources& sources, std::int64_t tensor) { return sources.tensor_noise(tensor).trace; }}
        .of_several_ranks(),
    Statistic{kStability, "tensors.noise_scale",
              "as in metrics.jsonl, of one tensor, numerator and denominator smoothed over the records with "
              "weights statistics.noise_scale_decay^(age in steps)",
              "sequences", Probe::Tensor, kNoRows, kAllRanks, kNoise,
              [](const StepSources& sources, std::int64_t tensor) {
                return sources.noise_scales().scale(1 + tensor);
              }}
        .of_several_ranks(),
    text_row(kStability, "nonfinite", kNonfinite, "-", "list", kSameOnAll),
};

}  // namespace

std::span<const Statistic> tensor_rows() { return kRows; }

}  // namespace plumb::detail

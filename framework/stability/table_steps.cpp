// Rows of the table: metrics.jsonl, the header of stability.jsonl, ranks.jsonl, events.jsonl.
#include <cmath>

#include "core/maximum.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "stability/step_sources.h"

namespace plumb::detail {
namespace {

using log_file::kEvents, log_file::kHeader, log_file::kMetrics, log_file::kRanks;

constexpr std::string_view kCritical = "critical sharpness, arXiv 2601.16979";
constexpr std::string_view kMonitor = "OLMo-core, StabilityMonitor; what is left out of windows: here";

template <auto member>
double step_value(const StepSources& sources, std::int64_t) {
  return static_cast<double>(sources.scalars().*member);
}

template <RowEntry entry>
double of_rank(const StepSources& sources, std::int64_t rank) {
  return sources.row(static_cast<int>(rank))[entry];
}

// What is known to move before the loss does.

double largest_adam_lag(const StepSources& sources, std::int64_t) {
  double largest = kAbsent;
  for (std::int64_t tensor = 0; tensor < sources.shape().tensors; ++tensor) {
    const double lag = sources.adam_lag(tensor);
    if (!is_absent(lag)) largest = is_absent(largest) ? lag : maximum_or_nan(lag, largest);
  }
  return largest;
}

double mean_kappa(const StepSources& sources, std::int64_t) {
  if (sources.cadence() == Cadence::EveryStep) return kAbsent;
  double sum = 0, sublayers = 0;
  for (std::int64_t k = 0; k < sources.shape().sublayers; ++k) {
    const double kappa = alignment_kappa(sources, k);
    if (is_absent(kappa)) continue;
    sum += kappa;
    sublayers += 1;
  }
  return sublayers == 0 ? kAbsent : sum / sublayers;
}

double largest_attention_logit(const StepSources& sources, std::int64_t) {
  double largest = kAbsent;
  for (std::int64_t k = 0; k < sources.shape().sublayers; ++k) {
    if (!sources.shape().attends(k)) continue;
    const double logit = sources.largest(kAttentionLogitPart, k);
    largest = is_absent(largest) ? logit : maximum_or_nan(logit, largest);
  }
  return largest;
}

constexpr Statistic kStepRows[] = {
    Statistic{kMetrics, "step", "optimiser updates done, this one included: the first is 1", "steps",
              Probe::Step, kNoRows, kSameOnAll, kDefinedHere, step_value<&StepScalars::step>}
        .as(Form::Integer),
    Statistic{kMetrics, "tokens", "targets used since the start of training", "tokens", Probe::Step, "count",
              kAllRanks, kDefinedHere, step_value<&StepScalars::tokens>}
        .as(Form::Integer),
    Statistic{kMetrics, "data_cursor", "sequences of the data order used since the start", "sequences",
              Probe::Step, "count", kAllRanks, kDefinedHere, step_value<&StepScalars::data_cursor>}
        .as(Form::Integer),
    {kMetrics, "loss",
     "cross-entropy: sum over targets of (log Z - logit of the target), divided by their "
     "number; without the z-loss term",
     "nats per token", Probe::Step, "mean", kAllRanks, kDefinedHere, step_value<&StepScalars::loss>},
    {kMetrics, "lr", "learning rate of this update, before a parameter's own scale", "1", Probe::Step,
     kNoRows, kSameOnAll, kDefinedHere, step_value<&StepScalars::learning_rate>},
    {kMetrics, "grad_norm", "2-norm of the whole reduced gradient, before clipping", "loss / parameter",
     Probe::Step, kNoRows, kAllRanks, kDefinedHere, step_value<&StepScalars::gradient_norm>},
    {kMetrics, "clip_coef",
     "what the gradient was multiplied by: min(1, clip_norm / grad_norm), or less with spikes.z_clip; 1 when "
     "clipping is off or by tensors, 0 when grad_norm was not finite",
     "1", Probe::Step, kNoRows, kSameOnAll, "arXiv 1211.5063, 2504.02507",
     step_value<&StepScalars::clip_coefficient>},
    Statistic{
        kMetrics, "skipped",
        "true: grad_norm was not finite, or the step was a spike and spikes.action = \"skip\"; parameters "
        "and optimiser state were left as they were",
        "true or false", Probe::Step, kNoRows, kSameOnAll, kDefinedHere, step_value<&StepScalars::skipped>}
        .as(Form::Flag),
    Statistic{kMetrics, "clipped_tensors",
              "tensors whose gradient was clipped by their own average; only with spikes.tensor_clip",
              "tensors", Probe::Step, "count", kSameOnAll, "AdaGC, arXiv 2502.11034"}
        .as(Form::Integer),
    {kMetrics, "loss_deviation",
     "(loss - mean) / standard deviation (unbiased) of the last 128 values that were no spikes; from the "
     "65th value on",
     "1", Probe::Step, kNoRows, kSameOnAll, kMonitor},
    {kMetrics, "grad_norm_deviation", "the same of grad_norm", "1", Probe::Step, kNoRows, kSameOnAll,
     kMonitor},
    {kMetrics, "loss_spike_share",
     "share of the losses so far that were spikes, that is not finite or with loss_deviation >= 6; a finite "
     "loss of a step whose grad_norm was not finite is not counted",
     "percent", Probe::Step, kNoRows, kSameOnAll, kMonitor},
    {kMetrics, "grad_norm_spike_share", "the same of grad_norm", "percent", Probe::Step, kNoRows, kSameOnAll,
     kMonitor},
    {kMetrics, "loss_spike_score",
     "share of the losses so far that were not finite or 7 standard deviations or more from the mean of the "
     "last 1000 that were neither; from the 129th value on",
     "percent", Probe::Step, kNoRows, kSameOnAll, "OLMo 2, arXiv 2501.00656"},
    {kMetrics, "grad_norm_spike_score", "the same of grad_norm", "percent", Probe::Step, kNoRows, kSameOnAll,
     "OLMo 2, arXiv 2501.00656"},
    {kMetrics, "tokens_per_s", "targets of this step / step_seconds", "tokens / s", Probe::Step, kNoRows,
     kAllRanks, kDefinedHere, step_value<&StepScalars::tokens_per_second>},
    {kMetrics, "step_seconds", "wall time of this step on the slowest rank", "s", Probe::Step, kNoRows,
     kMaxOverAll, kDefinedHere, step_value<&StepScalars::step_seconds>},
    {kMetrics, "log_z", "mean over targets of log Z = log sum_v exp(logit_v)", "nats", Probe::Step, "mean",
     kAllRanks, "arXiv 2309.14322",
     [](const StepSources& sources, std::int64_t) {
       return sources.sum_of(kRowLogZ) / sources.sum_of(kRowTargets);
     }},
    {kMetrics, "log_z_squared", "mean over targets of (log Z)^2, the z-loss without its coefficient",
     "nats^2", Probe::Step, "mean", kAllRanks, "arXiv 2204.02311",
     [](const StepSources& sources, std::int64_t) {
       return sources.sum_of(kRowLogZSquared) / sources.sum_of(kRowTargets);
     }},
    {kMetrics, "max_logit", "largest logit of any row with a target", "nats", Probe::Step, "max", kMaxOverAll,
     "arXiv 2309.14322",
     [](const StepSources& sources, std::int64_t) { return sources.largest_of(kRowMaxLogit); }},
    {kMetrics, "max_abs", "largest |x| in any stream or branch of this step", "activation", Probe::Step,
     "max", kMaxOverAll, kDefinedHere,
     [](const StepSources& sources, std::int64_t) { return sources.largest_of(kRowMaxAbs); }},
    {kMetrics, "overflows",
     "number of entries of streams and branches that fp16 cannot hold: |x| > 65504, infinite "
     "or NaN",
     "entries", Probe::Step, "count", kAllRanks, "arXiv 1710.03740",
     [](const StepSources& sources, std::int64_t) { return sources.sum_of(kRowOverflows); }},
    {kMetrics, "adam_lag", "largest RMS_t of a tensor: tensors.adam_lag of stability.jsonl, in every step",
     "1", Probe::Step, kNoRows, kSameOnAll, "arXiv 2304.13013", largest_adam_lag},
    {kMetrics, "kappa",
     "mean over sublayers of residual.kappa; only in steps with a record in stability.jsonl", "1",
     Probe::Step, "mean", kAllRanks, kDefinedHere, mean_kappa},
    Statistic{kMetrics, "largest_attention_logit",
              "largest attention.max_logit of any sublayer; only in steps with a detailed record", "nats",
              Probe::Step, "max", kMaxOverAll, "arXiv 2302.05442, 2309.14322", largest_attention_logit}
        .with_key("attention")
        .at_detailed_records(),
    {kMetrics, "loss_scale", "what this step's gradients were multiplied by while in fp16; 1 in other dtypes",
     "1", Probe::Step, kNoRows, kSameOnAll, "arXiv 1710.03740", step_value<&StepScalars::loss_scale>},
    {kMetrics, "val_loss", "loss on the validation split; only at validation steps", "nats per token",
     Probe::Step, "mean", kAllRanks, kDefinedHere},
    {kMetrics, "val_bits_per_byte",
     "val_loss / (ln 2 x bytes per token of the split); only at validation steps, and only "
     "where tokens stand for text",
     "bits per byte", Probe::Step, "mean", kAllRanks, kDefinedHere},
    Statistic{kMetrics, "grad_dispersion",
              "standard deviation over ranks of |g_r| (of the population) / their mean, g_r the mean "
              "gradient over the rank's own targets before reduction",
              "1", Probe::Step, kNoRows, kAllRanks, kDefinedHere,
              [](const StepSources& sources, std::int64_t) {
                const RankSpread spread = sources.gradient_spread();
                return spread.mean == 0 ? kAbsent : spread.standard_deviation / spread.mean;
              }}
        .of_several_ranks(),
    Statistic{kMetrics, "grad_argmax_rank",
              "the lowest rank with the largest |g_r|, a NaN being larger than all. Its host is entry r of "
              "`hosts` in manifest.json; what it read is in first_sequence and sequences of ranks.jsonl",
              "rank", Probe::Step, kNoRows, kAllRanks, kDefinedHere,
              [](const StepSources& sources, std::int64_t) {
                return static_cast<double>(sources.gradient_spread().argmax);
              }}
        .as(Form::Integer)
        .of_several_ranks(),
    Statistic{kMetrics, "loss_argmax_rank", "the same of the loss over the rank's own targets", "rank",
              Probe::Step, kNoRows, kAllRanks, kDefinedHere,
              [](const StepSources& sources, std::int64_t) {
                return static_cast<double>(sources.loss_spread().argmax);
              }}
        .as(Form::Integer)
        .of_several_ranks(),
    Statistic{kMetrics, "grad_agreement",
              "noise_square / m with m = sum_r (n_r/n) |g_r|^2: the mean cosine between gradients of two "
              "ranks where their norms are equal; 1 = the same gradient, 0 = noise. n_r of the n sequences "
              "of the step are rank r's",
              "1", Probe::Step, kNoRows, kAllRanks, kNoise,
              [](const StepSources& sources, std::int64_t) { return sources.gradient_noise().agreement; }}
        .of_several_ranks(),
    Statistic{kMetrics, "noise_square",
              "(R |g|^2 - m)/(R-1) with g the reduced gradient before clipping: unbiased estimate of |G|^2, "
              "G the gradient of the expected loss, and for equal ranks the mean inner product of two of "
              "them; may be negative. Ranks without a sequence do not count",
              "(loss / parameter)^2", Probe::Step, kNoRows, kAllRanks, kNoise,
              [](const StepSources& sources, std::int64_t) { return sources.gradient_noise().square; }}
        .of_several_ranks(),
    Statistic{kMetrics, "noise_trace",
              "n (m - |g|^2)/(R-1): unbiased estimate of the trace of the covariance of one sequence's "
              "gradient (the sample is the sequence, not the token)",
              "(loss / parameter)^2", Probe::Step, kNoRows, kAllRanks, kNoise,
              [](const StepSources& sources, std::int64_t) { return sources.gradient_noise().trace; }}
        .of_several_ranks(),
    Statistic{
        kMetrics, "noise_square_smoothed",
        "mean of noise_square over this step and those before, weighted by statistics.noise_scale_decay^age",
        "(loss / parameter)^2", Probe::Step, kNoRows, kAllRanks, kNoise,
        [](const StepSources& sources, std::int64_t) { return sources.noise_scales().square(0); }}
        .of_several_ranks(),
    Statistic{kMetrics, "noise_trace_smoothed", "the same of noise_trace", "(loss / parameter)^2",
              Probe::Step, kNoRows, kAllRanks, kNoise,
              [](const StepSources& sources, std::int64_t) { return sources.noise_scales().trace(0); }}
        .of_several_ranks(),
    Statistic{kMetrics, "noise_scale",
              "simple noise scale noise_trace_smoothed / noise_square_smoothed; absent while the latter is "
              "not positive",
              "sequences", Probe::Step, kNoRows, kAllRanks, kNoise,
              [](const StepSources& sources, std::int64_t) { return sources.noise_scales().scale(0); }}
        .of_several_ranks(),
    {kMetrics, "critical_lr",
     "smallest learning rate at which this update would have raised the loss of its own batch (z-loss "
     "included), all ranks; only at steps of sharpness.every; absent where the loss rises at no multiple of "
     "the update up to 2^20 or already at 2^-20, where the loss is not finite, and where nothing was updated "
     "or lr is 0",
     "1", Probe::Step, "mean", kAllRanks, kCritical},
    {kMetrics, "critical_sharpness", "2 / critical_lr", "1", Probe::Step, kNoRows, kSameOnAll, kCritical},
    {kMetrics, "hessian_eigenvalue",
     "lambda_1 of the Hessian of that loss where the update starts, by sharpness.iterations of the power "
     "iteration, from below; only in fp32 and fp64 with gradients that are reduced in them",
     "loss / parameter^2", Probe::Step, "mean", kAllRanks,
     "arXiv 2103.00065; products by central differences of gradients"},
    {kMetrics, "hessian_residual",
     "|H v - lambda_1 v| / |H v| of the unit vector v behind hessian_eigenvalue: how far the iteration is "
     "from "
     "an eigenvector",
     "1", Probe::Step, kNoRows, kSameOnAll, kDefinedHere},
    text_row(kMetrics, "nonfinite", kNonfinite, "-", "list", kSameOnAll),
};

constexpr Statistic kHeaderRows[] = {
    text_row(kHeader, "kind", "\"header\"", "-", "text", kSameOnAll),
    text_row(kHeader, "tensors", "names of the trainable tensors, in the order of the (P) arrays", "-", "(P)",
             kSameOnAll),
    text_row(kHeader, "norms", "names of the norms, in the order of the (N) arrays", "-", "(N)", kSameOnAll),
    text_row(kHeader, "sublayers", "names of the sublayers, in the order of k", "-", "(K)", kSameOnAll),
};

constexpr Statistic kRankRows[] = {
    Statistic{kRanks, "step", "as in metrics.jsonl", "steps", Probe::Step, kNoRows, kSameOnAll, kDefinedHere,
              step_value<&StepScalars::step>}
        .as(Form::Integer),
    {kRanks, "loss", "as in metrics.jsonl, over the rank's own targets", "nats per token", Probe::Rank,
     "mean", kEachRank, kDefinedHere,
     [](const StepSources& sources, std::int64_t rank) { return sources.rank_loss(static_cast<int>(rank)); }},
    {kRanks, "grad_norm",
     "2-norm of the mean gradient over the rank's own targets, before reduction and clipping",
     "loss / parameter", Probe::Rank, kNoRows, kEachRank, kDefinedHere,
     [](const StepSources& sources, std::int64_t rank) {
       return sources.rank_gradient_norm(static_cast<int>(rank));
     }},
    {kRanks, "step_seconds", "wall time of this step", "s", Probe::Rank, kNoRows, kEachRank, kDefinedHere,
     of_rank<kRowStepSeconds>},
    {kRanks, "wait_seconds", "part of it spent waiting for reductions after the backward pass", "s",
     Probe::Rank, kNoRows, kEachRank, kDefinedHere, of_rank<kRowWaitSeconds>},
    {kRanks, "preempted_seconds",
     "part of the rest in which a thread of the rank, the one that waited longest, was ready to run and had "
     "no "
     "core; 0 with one rank, and where alarms.ranks is off",
     "s", Probe::Rank, kNoRows, kEachRank, "/proc/self/task/*/schedstat", of_rank<kRowPreemptedSeconds>},
    Statistic{kRanks, "first_sequence",
              "place in the data order of the first sequence that the rank read in this step; the others "
              "follow it",
              "sequences", Probe::Rank, kNoRows, kEachRank, kDefinedHere,
              [](const StepSources& sources, std::int64_t rank) {
                return static_cast<double>(sources.first_sequence(static_cast<int>(rank)));
              }}
        .as(Form::Integer),
    Statistic{kRanks, "sequences", "how many it read", "sequences", Probe::Rank, kNoRows, kEachRank,
              kDefinedHere, of_rank<kRowSequences>}
        .as(Form::Integer),
    text_row(kRanks, "nonfinite", kNonfinite, "-", "list", kSameOnAll),
};

constexpr Statistic kEventRows[] = {
    text_row(kEvents, "step", "updates done when it happened", "steps", "scalar", kSameOnAll),
    text_row(kEvents, "kind",
             "resume, checkpoint, spike, skip, roll_back, nonfinite, stop, ..., and those of docs/alarms.md: "
             "rank_loss, rank_gradient, "
             "rank_nonfinite, rank_slow, replica_drift",
             "-", "text", kSameOnAll),
    text_row(kEvents, "ranks", "the ranks that it is about, where it is about some", "-", "list", kSameOnAll),
    text_row(kEvents, "hosts", "their hosts", "-", "list", kSameOnAll),
    text_row(kEvents, "tensor", "the tensor that it is about, where it is about one", "-", "text",
             kSameOnAll),
    text_row(
        kEvents, "first_sequence",
        "place in the data order of the first sequence that the first of `ranks` read in this step, where "
        "that may matter",
        "sequences", "scalar", kSameOnAll),
    text_row(kEvents, "sequences", "how many it read", "sequences", "scalar", kSameOnAll),
    text_row(kEvents, "text", "one line for a person", "-", "text", kSameOnAll),
    text_row(kEvents, "time", "when, UTC, ISO 8601", "-", "text", "rank 0"),
};

}  // namespace

std::span<const Statistic> step_rows() { return kStepRows; }
std::span<const Statistic> header_rows() { return kHeaderRows; }
std::span<const Statistic> rank_rows() { return kRankRows; }
std::span<const Statistic> event_rows() { return kEventRows; }

}  // namespace plumb::detail

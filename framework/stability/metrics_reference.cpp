#include "stability/metrics_reference.h"

#include <fmt/format.h>

#include "core/error.h"

namespace plumb {
namespace {

constexpr std::string_view kMetrics = "metrics.jsonl", kStability = "stability.jsonl",
                           kHeader = "stability.jsonl (first line)", kRanks = "ranks.jsonl",
                           kEvents = "events.jsonl";
constexpr std::string_view kAll = "all", kEachRank = "each", kSame = "same on all",
                           kExtremes = "min or max over all";
constexpr std::string_view kProfile = "(K+1), (K)";
constexpr std::string_view kPaper = "names: arXiv 2510.09904; formulas inferred";
constexpr std::string_view kDefined = "defined here";

constexpr std::string_view kNonfinite =
    "values of this line that are not finite, each as {path, kind} with kind nan, inf or -inf; the value "
    "itself "
    "is null. Absent when there is none";

constexpr MetricField kFields[] = {
    // metrics.jsonl
    {kMetrics, "step", "optimiser updates done, this one included: the first is 1", "steps", "scalar", kSame,
     kDefined},
    {kMetrics, "tokens", "targets used since the start of training", "tokens", "scalar", kAll, kDefined},
    {kMetrics, "data_cursor", "sequences of the data order used since the start", "sequences", "scalar", kAll,
     kDefined},
    {kMetrics, "loss",
     "cross-entropy: sum over targets of (log Z - logit of the target), divided by their number; "
     "without the z-loss term",
     "nats per token", "scalar", kAll, kDefined},
    {kMetrics, "lr", "learning rate of this update, before a parameter's own scale", "1", "scalar", kSame,
     kDefined},
    {kMetrics, "grad_norm", "2-norm of the whole reduced gradient, before clipping", "loss / parameter",
     "scalar", kAll, kDefined},
    {kMetrics, "clip_coef",
     "min(1, clip_norm / grad_norm); 1 when clipping is off, 0 when the step was skipped", "1", "scalar",
     kSame, "arXiv 1211.5063"},
    {kMetrics, "skipped",
     "true: grad_norm was not finite, so parameters and optimiser state were left as they were",
     "true or false", "scalar", kSame, kDefined},
    {kMetrics, "tokens_per_s", "targets of this step / step_seconds", "tokens / s", "scalar", kAll, kDefined},
    {kMetrics, "step_seconds", "wall time of this step on the slowest rank", "s", "scalar", "max over all",
     kDefined},
    {kMetrics, "log_z", "mean over targets of log Z = log sum_v exp(logit_v)", "nats", "scalar", kAll,
     "arXiv 2309.14322"},
    {kMetrics, "log_z_squared", "mean over targets of (log Z)^2, the z-loss without its coefficient",
     "nats^2", "scalar", kAll, "arXiv 2204.02311"},
    {kMetrics, "max_logit", "largest logit of any row with a target", "nats", "scalar", "max over all",
     "arXiv 2309.14322"},
    {kMetrics, "max_abs", "largest |x| in any stream or branch of this step", "activation", "scalar",
     "max over all", kDefined},
    {kMetrics, "overflows",
     "number of entries of streams and branches that fp16 cannot hold: |x| > 65504, infinite or NaN",
     "entries", "scalar", kAll, "arXiv 1710.03740"},
    {kMetrics, "loss_scale", "what this step's gradients were multiplied by while in fp16; 1 in other dtypes",
     "1", "scalar", kSame, "arXiv 1710.03740"},
    {kMetrics, "val_loss", "loss on the validation split; only at validation steps", "nats per token",
     "scalar", kAll, kDefined},
    {kMetrics, "val_bits_per_byte",
     "val_loss / (ln 2 x bytes per token of the split); only at validation steps, and "
     "only where tokens stand for text",
     "bits per byte", "scalar", kAll, kDefined},
    {kMetrics, "nonfinite", kNonfinite, "-", "list", kSame, kDefined},

    // stability.jsonl
    {kHeader, "kind", "\"header\"", "-", "text", kSame, kDefined},
    {kHeader, "tensors", "names of the trainable tensors, in the order of the (P) arrays", "-", "(P)", kSame,
     kDefined},
    {kHeader, "sublayers", "names of the sublayers, in the order of k", "-", "(K)", kSame, kDefined},
    {kStability, "step", "as in metrics.jsonl", "steps", "scalar", kSame, kDefined},
    {kStability, "profiles.{stream,branch}.mean_abs", "(1/(M C)) sum over rows m and features i of |x_mi|",
     "activation", kProfile, kAll, kPaper},
    {kStability, "profiles.{stream,branch}.entry_variance",
     "mean over rows m of Var_i(x_mi), about the row's own mean", "activation^2", kProfile, kAll, kPaper},
    {kStability, "profiles.{stream,branch}.data_variance",
     "mean over features i of Var_m(x_mi), over the rows of all ranks (exact: from column sums about the "
     "column "
     "mean of the sampled step before)",
     "activation^2", kProfile, kAll, kPaper},
    {kStability, "profiles.{stream,branch}.max_abs", "max |x_mi|", "activation", kProfile, "max over all",
     kDefined},
    {kStability, "profiles.{stream,branch}.rms", "sqrt((1/(M C)) sum x_mi^2)", "activation", kProfile, kAll,
     kDefined},
    {kStability, "profiles.{stream,branch}.max_row_norm", "max over rows m of the 2-norm of the row",
     "activation", kProfile, "max over all", kDefined},
    {kStability, "profiles.{stream,branch}.gradient_norm",
     "Frobenius norm of dL/dx over the rows of the global batch, L = mean loss over its targets, z-loss "
     "included",
     "loss / activation", kProfile, kAll, "arXiv 2002.04745, 2510.09904"},
    {kStability, "profiles.{stream,branch}.overflows",
     "number of entries that fp16 cannot hold, in all steps since the record before, this one included",
     "entries", kProfile, kAll, "arXiv 1710.03740"},
    {kStability, "profiles.{stream,branch}.interval_min.mean_abs",
     "smallest mean_abs that any rank had on its own rows in any step since the record before, this one "
     "included",
     "activation", kProfile, kExtremes, kDefined},
    {kStability, "profiles.{stream,branch}.interval_min.entry_variance", "the same of entry_variance",
     "activation^2", kProfile, kExtremes, kDefined},
    {kStability, "profiles.{stream,branch}.interval_min.max_abs", "the same of max_abs", "activation",
     kProfile, kExtremes, kDefined},
    {kStability, "profiles.{stream,branch}.interval_max.mean_abs", "largest instead of smallest",
     "activation", kProfile, kExtremes, kDefined},
    {kStability, "profiles.{stream,branch}.interval_max.entry_variance", "largest instead of smallest",
     "activation^2", kProfile, kExtremes, kDefined},
    {kStability, "profiles.{stream,branch}.interval_max.max_abs", "largest instead of smallest", "activation",
     kProfile, kExtremes, kDefined},
    {kStability, "tensors.grad_norm", "2-norm of the reduced gradient of a tensor, before clipping",
     "loss / parameter", "(P)", kAll, kDefined},
    {kStability, "tensors.grad_norm_local.min",
     "before reduction: smallest over ranks of |g_r|, the 2-norm of the "
     "mean gradient over the rank's own targets. Absent with one rank, as are the four below",
     "loss / parameter", "(P)", "min over all", kDefined},
    {kStability, "tensors.grad_norm_local.mean", "mean over ranks of |g_r|", "loss / parameter", "(P)", kAll,
     kDefined},
    {kStability, "tensors.grad_norm_local.max", "largest |g_r|", "loss / parameter", "(P)", "max over all",
     kDefined},
    {kStability, "tensors.grad_norm_local.std", "standard deviation over ranks of |g_r| (of the population)",
     "loss / parameter", "(P)", kAll, kDefined},
    {kStability, "tensors.grad_norm_local.argmax_rank", "the lowest rank with the largest |g_r|", "rank",
     "(P)", kAll, kDefined},
    {kStability, "tensors.update_ratio", "|new - old| / |old| of a tensor; null while |old| = 0", "1", "(P)",
     kSame, kDefined},
    {kStability, "tensors.parameter_norm", "2-norm of a tensor before the update", "parameter", "(P)", kSame,
     kDefined},
    {kStability, "nonfinite", kNonfinite, "-", "list", kSame, kDefined},

    // ranks.jsonl
    {kRanks, "step", "as in metrics.jsonl", "steps", "scalar", kSame, kDefined},
    {kRanks, "loss", "as in metrics.jsonl, over the rank's own targets", "nats per token", "(R)", kEachRank,
     kDefined},
    {kRanks, "grad_norm",
     "2-norm of the mean gradient over the rank's own targets, before reduction and clipping",
     "loss / parameter", "(R)", kEachRank, kDefined},
    {kRanks, "step_seconds", "wall time of this step", "s", "(R)", kEachRank, kDefined},
    {kRanks, "wait_seconds", "part of it spent waiting for reductions after the backward pass", "s", "(R)",
     kEachRank, kDefined},
    {kRanks, "nonfinite", kNonfinite, "-", "list", kSame, kDefined},

    // events.jsonl
    {kEvents, "step", "updates done when it happened", "steps", "scalar", kSame, kDefined},
    {kEvents, "kind", "resume, checkpoint, skip, stop, ...", "-", "text", kSame, kDefined},
    {kEvents, "text", "one line for a person", "-", "text", kSame, kDefined},
    {kEvents, "time", "when, UTC, ISO 8601", "-", "text", "rank 0", kDefined},
};

constexpr std::string_view kIntroduction =
    R"(# Metrics reference

Generated from `framework/stability/metrics_reference.cpp`; do not edit. Every field that a run writes under
`runs/<name>/` is here.

Each file holds one JSON record per line, in the order of steps. Symbols: K sublayers (k = 0..K-1), C = width,
M = (sequence, position) rows, P trainable tensors, R ranks. *Stream* entry k is the residual stream before
sublayer k, entry K the stream after the last one; *branch* entry k is what sublayer k adds to the stream, before
its residual step. Where a placement has several streams ([design/streams.md](design/streams.md)), the stream has a row
for each of them at every position. `mean_abs` is (1/n) sum |x_i|, `row_norm` the 2-norm of one row, Frobenius norm the 2-norm of a
whole tensor.

`{stream,branch}` in a name stands for two fields, whose shapes are (K+1) for the stream and (K) for the branch. Levels
of nested objects are joined by dots. Gradients are of the mean loss over the targets of the global batch.

The column *ranks* says over which ranks a value is taken. Times (`step_seconds`, `wait_seconds`, `tokens_per_s`,
`time`) differ from run to run; everything else has the same bits when configuration, seed, number of ranks, threads,
CPU features and build are the same.

- `metrics.jsonl`: every step.
- `stability.jsonl`: a first line with names, then every `log.stability_every`-th step.
- `ranks.jsonl`: every `log.ranks_every`-th step.
- `events.jsonl`: whenever something happens.
)";

}  // namespace

std::span<const MetricField> metric_fields() { return kFields; }

std::string metrics_reference_markdown() {
  std::string text(kIntroduction);
  std::string_view file;
  for (const MetricField& field : kFields) {
    if (field.file != file) {
      file = field.file;
      text += fmt::format(
          "\n## {}\n\n| field | definition | unit | shape | ranks | source |\n|---|---|---|---|---|---|\n",
          file);
    }
    std::string definition;
    for (const char c : field.definition) {
      if (c == '|') definition += '\\';  // or the table would end its cell here
      definition += c;
    }
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", field.name, definition, field.unit,
                        field.shape, field.ranks, field.source);
  }
  return text;
}

}  // namespace plumb

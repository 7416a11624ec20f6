#include "report/report_statistics.h"

namespace plumb {
namespace {

constexpr std::string_view kMetrics = "metrics.jsonl", kStability = "stability.jsonl", kRanks = "ranks.jsonl";
constexpr std::string_view kPaper = "arXiv 2510.09904 (names; formulas inferred)";
constexpr std::string_view kEvery = "log.stability_every", kRanksEvery = "log.ranks_every";
using enum StatisticShape;

constexpr ReportStatistic kStatistics[] = {
    // Curves over steps.
    {"loss", kMetrics, "loss", Scalar, "loss", "Loss", "nats per token", false,
     "Cross-entropy of every step (band: smallest to largest of the steps drawn as one point), its moving "
     "median (line) and the loss on the validation split (dots); triangles mark spikes.",
     "spike rule: OLMo 2, arXiv 2501.00656", "always written"},
    {"val_loss", kMetrics, "val_loss", Scalar, "", "Validation loss", "nats per token", false, "", "",
     "validation.every"},
    {"val_bits_per_byte", kMetrics, "val_bits_per_byte", Scalar, "", "Validation", "bits per byte", false, "",
     "", "validation.every"},
    {"grad_norm", kMetrics, "grad_norm", Scalar, "loss", "Gradient norm", "loss / parameter", true,
     "2-norm of the whole gradient before clipping, with its spikes: those often come before spikes of the "
     "loss.",
     "OLMo 2, arXiv 2501.00656", "always written"},
    {"clip_coef", kMetrics, "clip_coef", Scalar, "", "Clip factor", "1", false, "", "", "always written"},
    {"lr", kMetrics, "lr", Scalar, "loss", "Learning rate", "1", false,
     "Learning rate of every update, to set the other curves against.", "configuration", "always written"},
    {"skipped", kMetrics, "skipped", Scalar, "", "Skipped", "true or false", false, "", "", "always written"},
    {"max_abs", kMetrics, "max_abs", Scalar, "loss", "Largest activation", "activation", true,
     "Largest |x| of all streams and branches; at 65504 fp16 overflows, which Pre-LN models reach early in "
     "training.",
     "arXiv 2502.02732", "always written"},
    {"log_z", kMetrics, "log_z", Scalar, "loss", "Mean log Z of the head", "nats", false,
     "Mean logarithm of the softmax normaliser of the output head: a drift away from 0 warns of a divergence "
     "late in training.",
     "arXiv 2309.14322", "always written"},
    {"max_logit", kMetrics, "max_logit", Scalar, "loss", "Largest output logit", "nats", false,
     "Largest logit of the output head in a step; it grows without limit where the head drifts.",
     "arXiv 2309.14322", "always written"},
    {"adam_lag", kMetrics, "adam_lag", Scalar, "loss", "Largest Adam lag of a tensor: RMS_t", "1", true,
     "Root mean square of gradients over what Adam expects of them, of the tensor where it is largest: 1 is "
     "usual, and far above 1 comes some steps before a spike of the loss.",
     "arXiv 2304.13013", "a run with AdamW"},
    {"loss_deviation", kMetrics, "loss_deviation", Scalar, "loss", "Loss: distance from its recent past", "1",
     false,
     "How many standard deviations the loss lies from the mean of the last 128 that were no spikes: from 6 "
     "on "
     "it is a spike that a run may act on.",
     "OLMo-core, StabilityMonitor", "always written"},
    {"grad_norm_deviation", kMetrics, "grad_norm_deviation", Scalar, "loss",
     "Gradient norm: distance from its recent past", "1", false,
     "The same of the norm of the gradient, which often spikes some steps before the loss.",
     "OLMo-core, StabilityMonitor", "always written"},
    {"overflows", kMetrics, "overflows", Scalar, "", "fp16 overflows", "entries", false, "", "",
     "always written"},
    {"tokens_per_s", kMetrics, "tokens_per_s", Scalar, "", "Throughput", "tokens / s", false, "", "",
     "always written"},

    // Growth over depth, as numbers over steps.
    {"growth.exponent", "", "", Derived, "growth", "Growth exponent p", "1", false,
     "Exponent p of Var_k - Var_0 = c (k/K)^p with its 95 % interval: 1 where sublayers add independently, 2 "
     "where "
     "they are aligned, more where weights grow with depth.",
     "Kan et al., arXiv 2510.09904; Kedia et al., arXiv 2403.09635", kEvery},
    {"gradient.ratio", "", "", Derived, "growth", "Gradient norm, bottom / top", "1", true,
     "Norm of dL/dx at the first sublayer boundary over that at the last: 1 is even, large is exploding and "
     "small is "
     "vanishing on the way down.",
     "Xiong et al., arXiv 2002.04745", kEvery},

    // Depth profiles.
    {"profiles.stream.entry_variance", kStability, "profiles.stream.entry_variance", Boundary, "depth",
     "Stream: entry-wise variance", "activation^2", true,
     "Variance over the features of a row of the residual stream, mean over rows, before every sublayer and "
     "after "
     "the last: the growth that the placement is meant to hold.",
     kPaper, kEvery},
    {"profiles.stream.data_variance", kStability, "profiles.stream.data_variance", Boundary, "depth",
     "Stream: data-wise variance", "activation^2", true,
     "Variance of a feature over the rows of the batch, mean over features: where it falls behind the "
     "entry-wise one, "
     "rows have become alike.",
     kPaper, kEvery},
    {"profiles.stream.mean_abs", kStability, "profiles.stream.mean_abs", Boundary, "depth",
     "Stream: mean |x|", "activation", true,
     "Mean absolute value of the residual stream; a bound on the branches makes it at most linear in depth.",
     kPaper, kEvery},
    {"profiles.stream.max_abs", kStability, "profiles.stream.max_abs", Boundary, "depth", "Stream: max |x|",
     "activation", true,
     "Largest entry of the residual stream: far above mean |x| means massive activations, and 65504 is the "
     "end of "
     "fp16.",
     "arXiv 2402.17762, 2502.02732", kEvery},
    {"profiles.stream.gradient_norm", kStability, "profiles.stream.gradient_norm", Boundary, "depth",
     "Gradient of the stream: |dL/dx|", "loss / activation", true,
     "Norm of the loss gradient at every sublayer boundary: flat is stable, a slope to the left explodes or "
     "vanishes "
     "on the way down.",
     "arXiv 2002.04745, 2510.09904", kEvery},
    {"profiles.branch.rms", kStability, "profiles.branch.rms", Sublayer, "depth", "Branch: RMS", "activation",
     true,
     "Root mean square of what every sublayer adds to the stream, before its residual step: branches that "
     "grow with "
     "depth are what exponential growth needs.",
     "derived in the placements' theory; arXiv 2502.02732", kEvery},
    {"residual.rho", kStability, "residual.rho", Sublayer, "depth", "Branch to stream: rho", "1", true,
     "Norm of the scaled branch over that of the stream it is added to: near 0 the sublayer hardly changes "
     "the "
     "stream (curse of depth).",
     "arXiv 2502.05795", kEvery},
    {"residual.kappa", kStability, "residual.kappa", Sublayer, "depth",
     "Alignment of branch and stream: kappa", "1", false,
     "Cosine between a branch and the stream it is added to: 0 gives linear growth of the variance, lasting "
     "positive "
     "values quadratic growth, negative ones erase.",
     "arXiv 2510.09904 (quadratic bound)", kEvery},
    {"profiles.branch.gradient_norm", kStability, "profiles.branch.gradient_norm", Sublayer, "depth",
     "Gradient of the branch: |dL/dz|", "loss / activation", true,
     "Norm of the loss gradient at every branch: what the weights of that sublayer get to learn from.",
     "arXiv 2510.09904", kEvery},

    // Bounds.
    {"profiles.stream.max_row_norm", kStability, "profiles.stream.max_row_norm", Boundary, "",
     "Stream: largest row norm", "activation", true,
     "Largest 2-norm of a row of the residual stream: what the proved bounds speak of.", "defined here",
     kEvery},
    {"bounds.row_norm", kStability, "bounds.row_norm", Boundary, "bounds", "Proved bound on the row norm",
     "activation", true,
     "Largest 2-norm of a row of the stream (solid) under the bound that follows from gains, biases and "
     "residual steps "
     "(dashed): touching it would be a fault of program or theory.",
     "Peri-LN: |x_k| <= |x_0| + sum b_j (|beta_j| + sqrt(d) max |gamma_j|), after arXiv 2510.09904", kEvery},

    {"bounds.share", kStability, "bounds.share", Boundary, "bounds", "Share of the bound that was used", "1",
     true,
     "Largest row norm divided by its bound; what is missing to 1 is the slack, and small shares mean a "
     "loose "
     "bound rather than a safe run.",
     "arXiv 2510.09904", kEvery},

    // Ranks.
    {"ranks.grad_norm", kRanks, "grad_norm", Rank, "ranks", "Gradient norm of every rank", "loss / parameter",
     true,
     "2-norm of every rank's own gradient before reduction; crosses mark ranks that leave the others by more "
     "than 6 "
     "robust standard deviations.",
     "derived from arXiv 1812.06162 (norms before and after reduction)", kRanksEvery},
    {"ranks.loss", kRanks, "loss", Rank, "ranks", "Loss of every rank", "nats per token", false,
     "Loss over every rank's own sequences: one that stays apart has other data, or a fault.", "defined here",
     kRanksEvery},
    {"ranks.step_seconds", kRanks, "step_seconds", Rank, "", "Step time", "s", false, "", "", kRanksEvery},
    {"ranks.wait_seconds", kRanks, "wait_seconds", Rank, "", "Wait time", "s", false, "", "", kRanksEvery},

    // Noise.
    {"noise_scale", kMetrics, "noise_scale", Scalar, "noise", "Simple noise scale", "sequences", true,
     "Trace of the per-sequence gradient covariance over the squared gradient, numerator and denominator "
     "smoothed "
     "apart: batches well below it are dominated by noise.",
     "McCandlish et al., arXiv 1812.06162", "a run on several ranks"},
    {"grad_agreement", kMetrics, "grad_agreement", Scalar, "noise", "Agreement of the ranks", "1", false,
     "Mean cosine between the gradients of two ranks: 1 is the same gradient, 0 is noise, and a lasting drop "
     "asks for a "
     "look at data and hardware.",
     "from the norms of arXiv 1812.06162", "a run on several ranks"},

    // Sharpness.
    {"critical_sharpness", kMetrics, "critical_sharpness", Scalar, "sharpness", "Critical sharpness", "1",
     true,
     "2 over the smallest learning rate at which the update would have raised the loss of its own batch: "
     "near "
     "2 / learning rate the run lives at the edge of stability.",
     "arXiv 2601.16979", "sharpness.every"},
    {"hessian_eigenvalue", kMetrics, "hessian_eigenvalue", Scalar, "sharpness",
     "Largest eigenvalue of the Hessian", "loss / parameter^2", false,
     "From the power iteration, which comes from below: the curvature that plain gradient descent could bear "
     "up "
     "to 2 / learning rate.",
     "arXiv 2103.00065", "sharpness.every, sharpness.iterations"},

    // Attention.
    {"attention.max_logit", kStability, "attention.max_logit", Sublayer, "attention",
     "Largest attention logit", "nats", true,
     "Largest q.k / sqrt(d_h) of every attention sublayer: its growth, usually in the first layers, comes "
     "before "
     "divergence.",
     "arXiv 2302.05442, 2309.14322", kEvery},
    {"attention.entropy.mean", kStability, "attention.entropy.mean", Sublayer, "attention",
     "Attention entropy", "nats", false,
     "Mean entropy of the attention rows: a collapse towards 0 means that every position looks at one other.",
     "arXiv 2303.06296", kEvery},
    {"attention.normalised_entropy.min", kStability, "attention.normalised_entropy.min", Sublayer,
     "attention", "Attention entropy of the narrowest head", "1", false,
     "Smallest entropy of any head over that of uniform attention: one head that collapses shows here before "
     "it "
     "shows in the mean.",
     "arXiv 2303.06296", kEvery},

    // Updates.
    {"tensors.update_ratio", kStability, "tensors.update_ratio", Tensor, "updates", "Update / weight by kind",
     "1", true,
     "Norm of the update over that of the tensor, median over the blocks, for every kind of tensor: about "
     "1e-3 is "
     "usual, and a kind that leaves the others is learning too fast.",
     "rule of thumb; what precedes a spike: arXiv 2304.13013", kEvery},
    {"tensors.adam_lag", kStability, "tensors.adam_lag", Tensor, "updates", "Adam lag RMS_t by kind", "1",
     true,
     "Root mean square of a tensor's gradient over its second moment, median over the blocks, for every kind "
     "of tensor: far above 1 the second moment lags behind, which precedes spikes.",
     "arXiv 2304.13013", kEvery},
    {"tensors.grad_norm", kStability, "tensors.grad_norm", Tensor, "", "Gradient norm of tensors",
     "loss / parameter", true, "", "", kEvery},
    {"block.update_ratio", "", "", Block, "updates", "Update / weight by block", "1", true,
     "Update over weight of the matrices of every block, median over its matrices: an even profile means "
     "that depth "
     "does not decide how fast a block learns.",
     "arXiv 2310.02244, 2505.01618", kEvery},
    {"block.grad_norm", "", "", Block, "updates", "Gradient norm by block", "loss / parameter", true,
     "2-norm of the gradient of all tensors of every block: Post-LN is known for large last blocks, Peri-LN "
     "for the "
     "most even profile.",
     "arXiv 2002.04745, 2502.02732", kEvery},
};

}  // namespace

std::span<const ReportStatistic> report_statistics() { return kStatistics; }

const ReportStatistic* find_statistic(std::string_view id) {
  for (const ReportStatistic& statistic : kStatistics) {
    if (statistic.id == id) return &statistic;
  }
  return nullptr;
}

}  // namespace plumb

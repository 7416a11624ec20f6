#include "report/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace plumb {
namespace {

using enum VerdictLevel;

// Borderline from the first, pathological from the second.
constexpr double kGradientRatio[] = {100, 1e4};         // and their inverses
constexpr double kExponentialGrowth[] = {10, 1000};     // of the variance, over the depth
constexpr double kSteepExponent[] = {1.5, 3};           // lower end of the interval of p: borderline
constexpr double kLossSpikes = 0.1, kNormSpikes = 0.4;  // percent; OLMo 2 calls 0.40 many and 0.03 few
constexpr double kLargestHalf = 65504;                  // largest finite fp16
constexpr double kBoundRounding = 0.01;  // of the bound: what rounding of fp32 and bf16 may exceed it by
constexpr double kHeadRoom = 16;
constexpr double kDiverged = 1;  // nats above the best

class Reasons {
 public:
  template <class... Values>
  void add(VerdictLevel level, fmt::format_string<Values...> format, Values&&... values) {
    reasons_.push_back({level, fmt::format(format, std::forward<Values>(values)...)});
  }
  std::vector<VerdictReason> sorted() {
    std::stable_sort(reasons_.begin(), reasons_.end(),
                     [](const auto& a, const auto& b) { return a.level > b.level; });
    return std::move(reasons_);
  }

 private:
  std::vector<VerdictReason> reasons_;
};

/// "1 spike", "2 spikes".
std::string counted(std::size_t number, const char* word) {
  return fmt::format("{} {}{}", number, word, number == 1 ? "" : "s");
}

void judge_loss(const RunData& run, const RunSummary& summary, Reasons& reasons) {
  std::int64_t lost = 0;
  for (const NonfiniteValue& value : run.nonfinite) {
    if (value.path == "loss" || value.path == "grad_norm") lost = lost == 0 ? value.step : lost;
  }
  if (lost > 0) reasons.add(Pathological, "loss or gradient norm was not finite, first at step {}", lost);
  if (summary.skipped_steps > 0)
    reasons.add(Borderline, "{} skipped", counted(static_cast<std::size_t>(summary.skipped_steps), "step"));
  if (summary.final_loss > summary.first_loss) {
    reasons.add(Pathological, "the loss ended at {:.3f}, above the {:.3f} that it began with",
                summary.final_loss, summary.first_loss);
  } else if (summary.final_loss > summary.best_loss + kDiverged) {
    reasons.add(Pathological, "the loss ended at {:.3f}, having been at {:.3f}", summary.final_loss,
                summary.best_loss);
  } else if (std::isfinite(summary.final_loss)) {
    reasons.add(Regular, "the loss fell from {:.3f} to {:.3f}", summary.first_loss, summary.final_loss);
  }
}

void judge_spikes(const RunSummary& summary, Reasons& reasons) {
  const auto level = [](double percent, double limit) { return percent >= limit ? Borderline : Regular; };
  const SpikeScore &loss = summary.loss_spikes, &norm = summary.gradient_spikes;
  if (loss.indices.empty() && norm.indices.empty()) {
    reasons.add(Regular, "no spikes");
    return;
  }
  if (!loss.indices.empty()) {
    reasons.add(level(loss.percent, kLossSpikes), "{}, spike score {:.2f} %",
                counted(loss.indices.size(), "loss spike"), loss.percent);
  }
  if (!norm.indices.empty()) {
    reasons.add(level(norm.percent, kNormSpikes), "{}, spike score {:.2f} %",
                counted(norm.indices.size(), "gradient spike"), norm.percent);
  }
}

VerdictLevel power_level(double exponent) {
  return exponent > kSteepExponent[1] ? Pathological : exponent > kSteepExponent[0] ? Borderline : Regular;
}

VerdictLevel exponential_level(double total) {
  return total >= kExponentialGrowth[1]   ? Pathological
         : total >= kExponentialGrowth[0] ? Borderline
                                          : Regular;
}

void judge_growth(const RunSummary& summary, Reasons& reasons) {
  if (!summary.last_growth) return;
  const Growth& growth = *summary.last_growth;
  const std::string text = growth_text(growth);
  switch (growth.growth_class) {
    case GrowthClass::Unknown:
      return;
    case GrowthClass::NotFinite:
      reasons.add(Pathological, "the variance of the stream is not finite at step {}",
                  summary.last_growth_step);
      return;
    case GrowthClass::Exponential:
      reasons.add(exponential_level(growth.total), "variance over depth: {}", text);
      return;
    case GrowthClass::Bounded:
      reasons.add(Regular, "variance over depth: {}", text);
      return;
    default:
      reasons.add(power_level(growth.exponent_low), "variance over depth: {}", text);
  }
}

void judge_gradients(const RunSummary& summary, Reasons& reasons) {
  if (!summary.worst_gradient_ratio) return;
  const ValueAtStep worst = *summary.worst_gradient_ratio;
  const double size = std::max(worst.value, 1 / worst.value);
  const char* word = worst.value > 1 ? "explodes" : "vanishes";
  if (size >= kGradientRatio[0]) {
    reasons.add(size >= kGradientRatio[1] ? Pathological : Borderline,
                "the gradient {} on the way down: bottom / top {:.3g} at step {}", word, worst.value,
                worst.step);
  } else {
    reasons.add(Regular, "gradients bottom / top {:.3g}", summary.gradient_ratio->value);
  }
}

void judge_range(const RunData& run, const RunSummary& summary, Reasons& reasons) {
  if (!summary.max_abs) return;
  const ValueAtStep largest = *summary.max_abs;
  const auto dtype = run.manifest.find("compute_dtype");
  const bool half = dtype != run.manifest.end() && dtype->second == "fp16";
  if (largest.value > kLargestHalf) {
    reasons.add(half ? Pathological : Borderline, "activations up to {:.3g} (step {}), beyond fp16",
                largest.value, largest.step);
  } else if (largest.value > kLargestHalf / kHeadRoom) {
    reasons.add(Borderline,
                "activations up to {:.3g} (step {}), less than a factor of 16 below the end of fp16",
                largest.value, largest.step);
  } else {
    reasons.add(Regular, "activations up to {:.3g}, {:.0f} times below the end of fp16", largest.value,
                kLargestHalf / largest.value);
  }
}

void judge_bounds(const RunSummary& summary, Reasons& reasons) {
  if (!summary.bound) return;
  const BoundUse& bound = *summary.bound;
  if (bound.share > 1 + kBoundRounding) {
    reasons.add(Pathological, "the proved bound was violated at step {}, boundary {}: {:.3g} times the bound",
                bound.step, bound.boundary, bound.share);
  } else {
    reasons.add(Regular, "at most {:.0f} % of the proved bound was used", 100 * bound.share);
  }
}

void judge_ranks(const RunSummary& summary, Reasons& reasons) {
  std::set<std::size_t> ranks;
  for (const RankOutlier& outlier : summary.outliers) ranks.insert(outlier.rank);
  if (ranks.empty()) return;
  reasons.add(Borderline, "the gradient norm of rank {} leaves those of the others in {}",
              fmt::join(ranks, ", "), counted(summary.outliers.size(), "record"));
}

}  // namespace

std::string verdict_name(VerdictLevel level) {
  return level == Regular ? "regular" : level == Borderline ? "borderline" : "pathological";
}

void judge(const RunData& run, RunSummary& summary) {
  Reasons reasons;
  if (run.metrics.steps.empty()) {
    reasons.add(Borderline, "no step has been logged");
  } else {
    judge_loss(run, summary, reasons);
    judge_spikes(summary, reasons);
    judge_growth(summary, reasons);
    judge_gradients(summary, reasons);
    judge_range(run, summary, reasons);
    judge_bounds(summary, reasons);
    judge_ranks(summary, reasons);
  }
  summary.reasons = reasons.sorted();
  summary.verdict = summary.reasons.empty() ? Regular : summary.reasons.front().level;
}

std::string verdict_rules(VerdictLevel level) {
  switch (level) {
    case Regular:
      return "none of these.";
    case Borderline:
      return fmt::format(
          "skipped steps; a spike score of the loss from {} %, of the gradient norm from {} %; exponential "
          "growth of "
          "the variance over the depth, {}-fold or more, or an interval of p wholly above {}; gradients "
          "bottom / top "
          "beyond {} or below 1/{}; activations above 1/{} of what fp16 holds; a rank that leaves the "
          "others.",
          kLossSpikes, kNormSpikes, kExponentialGrowth[0], kSteepExponent[0], kGradientRatio[0],
          kGradientRatio[0], kHeadRoom);
    case Pathological:
      return fmt::format(
          "loss or gradient norm not finite; a loss that ends above where it began, or {} nat above its "
          "best; "
          "exponential growth, {}-fold or more, or an interval of p wholly above {}; gradients bottom / top "
          "beyond {} or "
          "below 1/{}; activations beyond fp16 in a run that computes in fp16; a proved bound exceeded by "
          "more than "
          "{} %.",
          kDiverged, kExponentialGrowth[1], kSteepExponent[1], kGradientRatio[1], kGradientRatio[1],
          100 * kBoundRounding);
  }
  return "";
}

}  // namespace plumb

#include "spike_guard.h"

#include <fmt/format.h>

#include <cmath>

namespace plumb {
namespace {

/// "loss 9.1 (7.3 standard deviations above ...; OLMo 2 ...)"; nothing for a value that does not stand out.
void describe(const char* name, const SpikeFinding& finding, std::string& text) {
  if (!std::isfinite(finding.value) || !(finding.monitor || finding.olmo_score)) return;
  if (!text.empty()) text += "; ";
  text += fmt::format("{} {:.6g}", name, finding.value);
  if (finding.monitor) {
    text += fmt::format(" lies {:.1f} standard deviations above the mean of the last {} values",
                        finding.deviation, kOlmoStabilityMonitor.window);
  }
  if (finding.olmo_score)
    text += fmt::format("{} counts for the OLMo 2 spike score", finding.monitor ? " and" : "");
}

}  // namespace

GuardRules guard_rules(const SpikesConfig& spikes) {
  return {.skip_sigmas = spikes.action == "skip" ? kOlmoStabilityMonitor.sigmas : 0,
          .z_limit = spikes.z_clip,
          .z_decay = spikes.z_clip_decay,
          .z_warmup = spikes.z_clip_warmup_steps,
          .tensor_ratio = spikes.tensor_clip,
          .tensor_decay = spikes.tensor_clip_decay,
          .tensor_warmup = spikes.tensor_clip_warmup_steps};
}
static_assert(kGuardWindow == kOlmoStabilityMonitor.window && kGuardMinimum == kOlmoStabilityMonitor.minimum);

const SpikeGuard::Verdict& SpikeGuard::judge(StepRecord& record) {
  const bool finite_loss = std::isfinite(record.loss), finite_norm = std::isfinite(record.gradient_norm);
  const bool overflowed = scales_loss_ && finite_loss && !finite_norm;
  const SpikeWatch::Findings findings = watch_.observe(record, !overflowed);
  if (spikes_.tensor_clip > 0) record.set("clipped_tensors", record.clipped_tensors);
  verdict_.spike.clear();
  describe("loss", findings.loss, verdict_.spike);
  describe("gradient norm", findings.gradient_norm, verdict_.spike);
  // What is not finite is not for this guard (trainers/non_finite_report.h).
  verdict_.roll_back = spikes_.action == "roll_back" && finite_loss && finite_norm &&
                       (findings.loss.monitor || findings.gradient_norm.monitor);
  return verdict_;
}

std::string skip_reason(const StepRecord& record) {
  if (record.spikes == 0) {
    return std::isfinite(record.gradient_norm) ? "the loss is not finite"
                                               : "the gradient norm is not finite: this step updated nothing";
  }
  const bool loss = (record.spikes & kLossSpike) != 0, norm = (record.spikes & kNormSpike) != 0;
  return fmt::format("a spike of the {}: this step updated nothing", loss && norm
                                                                         ? "loss and of the gradient norm"
                                                                     : loss ? "loss"
                                                                            : "gradient norm");
}

}  // namespace plumb

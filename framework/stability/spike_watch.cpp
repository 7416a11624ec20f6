#include "stability/spike_watch.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "stability/absent.h"

namespace plumb {
namespace {

/// Of a packed state: values judged, spikes, sizes of window and streak; then both, each with room for all
/// that it can hold.
enum PackedState : std::size_t {
  kPackedJudged = 0,
  kPackedSpikes,
  kPackedWindow,
  kPackedStreak,
  kPackedValues
};

std::size_t packed_elements(const SpikeRule& rule) {
  return kPackedValues + static_cast<std::size_t>(rule.window + rule.minimum);
}

/// Of a value that is not finite the distance is infinite, which is no number to log.
double loggable(double deviation) { return std::isfinite(deviation) ? deviation : kAbsent; }

}  // namespace

SpikeWatch::SpikeWatch()
    : watches_{{{kOlmoStabilityMonitor, "loss_monitor", SpikeDetector(kOlmoStabilityMonitor), {}},
                {kOlmoSpikeScore, "loss_score", SpikeDetector(kOlmoSpikeScore), {}},
                {kOlmoStabilityMonitor, "grad_norm_monitor", SpikeDetector(kOlmoStabilityMonitor), {}},
                {kOlmoSpikeScore, "grad_norm_score", SpikeDetector(kOlmoSpikeScore), {}}}} {
  for (Watch& watch : watches_) watch.packed.assign(packed_elements(watch.rule), 0.0);
}

SpikeWatch::Findings SpikeWatch::observe(StepRecord& record, bool judges_norm) {
  // As guard_step has it: of a step whose norm is no number nothing is learnt, a calm loss neither.
  const bool judges_loss = std::isfinite(record.gradient_norm) || !std::isfinite(record.loss);
  const auto find = [&](double value, int monitor, int score, bool judges) {
    SpikeDetector& detector = watches_[static_cast<std::size_t>(monitor)].detector;
    SpikeFinding finding{.value = value, .deviation = detector.deviation(value)};
    if (!judges) return finding;
    finding.monitor = detector.observe(value);
    finding.olmo_score = watches_[static_cast<std::size_t>(score)].detector.observe(value);
    return finding;
  };
  Findings findings;
  findings.loss = find(record.loss, kLossMonitor, kLossScore, judges_loss);
  record.set("loss_deviation", loggable(findings.loss.deviation));
  record.set("grad_norm_deviation", kAbsent);
  if (judges_norm) {
    findings.gradient_norm = find(record.gradient_norm, kNormMonitor, kNormScore, true);
    record.set("grad_norm_deviation", loggable(findings.gradient_norm.deviation));
  }
  record.set("loss_spike_share", watches_[kLossMonitor].detector.score_percent());
  record.set("grad_norm_spike_share", watches_[kNormMonitor].detector.score_percent());
  record.set("loss_spike_score", watches_[kLossScore].detector.score_percent());
  record.set("grad_norm_spike_score", watches_[kNormScore].detector.score_percent());
  return findings;
}

std::vector<StatisticsStateTensor> SpikeWatch::state_tensors() {
  std::vector<StatisticsStateTensor> list;
  for (Watch& watch : watches_) {
    const SpikeState state = watch.detector.state();
    std::vector<double>& packed = watch.packed;
    std::fill(packed.begin(), packed.end(), 0.0);
    packed[kPackedJudged] = static_cast<double>(state.judged);
    packed[kPackedSpikes] = static_cast<double>(state.spikes);
    packed[kPackedWindow] = static_cast<double>(state.window.size());
    packed[kPackedStreak] = static_cast<double>(state.streak.size());
    const auto window = packed.begin() + kPackedValues;
    std::copy(state.window.begin(), state.window.end(), window);
    std::copy(state.streak.begin(), state.streak.end(), window + watch.rule.window);
    list.push_back({std::string("spikes/") + watch.name,
                    Tensor(packed.data(), DType::Float64, {static_cast<std::int64_t>(packed.size())})});
  }
  return list;
}

void SpikeWatch::unpack(Watch& watch) {
  const std::vector<double>& packed = watch.packed;
  const double window = packed[kPackedWindow], streak = packed[kPackedStreak];
  PLUMB_CHECK(0 <= window && window <= static_cast<double>(watch.rule.window) && 0 <= streak &&
                  streak <= static_cast<double>(watch.rule.minimum),
              "the state '{}' has a window of {} and a streak of {} values", watch.name, window, streak);
  SpikeState state;
  const auto first = packed.begin() + kPackedValues, second = first + watch.rule.window;
  state.window.assign(first, first + static_cast<std::ptrdiff_t>(window));
  state.streak.assign(second, second + static_cast<std::ptrdiff_t>(streak));
  state.judged = static_cast<std::int64_t>(packed[kPackedJudged]);
  state.spikes = static_cast<std::int64_t>(packed[kPackedSpikes]);
  watch.detector = SpikeDetector(watch.rule, state);
}

void SpikeWatch::state_restored() {
  for (Watch& watch : watches_) unpack(watch);
}

}  // namespace plumb

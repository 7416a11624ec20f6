#include "stability/spike_score.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kSmallestDeviation = 1e-9;  // of |mean|

}  // namespace

SpikeDetector::SpikeDetector(const SpikeRule& rule) : rule_(rule) {
  PLUMB_CHECK(2 <= rule.minimum && rule.minimum <= rule.window, "a window of {} values judged from {} on",
              rule.window, rule.minimum);
  ring_.resize(static_cast<std::size_t>(rule.window));
  streak_.reserve(static_cast<std::size_t>(rule.minimum));
}

SpikeDetector::SpikeDetector(const SpikeRule& rule, const SpikeState& state) : SpikeDetector(rule) {
  const auto finite = [](double value) { return std::isfinite(value); };
  PLUMB_CHECK(state.window.size() <= ring_.size() && state.streak.size() < streak_.capacity() &&
                  0 <= state.spikes && state.spikes <= state.judged &&
                  std::all_of(state.window.begin(), state.window.end(), finite) &&
                  std::all_of(state.streak.begin(), state.streak.end(), finite),
              "the state of a spike detector ({} values, {} in a row, {} spikes of {}) is none of rule '{}'",
              state.window.size(), state.streak.size(), state.spikes, state.judged, rule.name);
  for (const double value : state.window) push(value);
  streak_.assign(state.streak.begin(), state.streak.end());
  judged_ = state.judged;
  spikes_ = state.spikes;
}

// In the order of age, so that a detector that was made from state() has the same bits.
template <class Use>
void SpikeDetector::for_values(Use&& use) const {
  for (std::size_t i = count_ < ring_.size() ? 0 : next_; i < count_; ++i) use(ring_[i]);
  if (count_ == ring_.size())
    for (std::size_t i = 0; i < next_; ++i) use(ring_[i]);
}

double SpikeDetector::deviation(double value) const {
  if (!std::isfinite(value)) return std::numeric_limits<double>::infinity();
  if (count_ < static_cast<std::size_t>(rule_.minimum)) return std::numeric_limits<double>::quiet_NaN();
  // Two passes: a running sum of squares would cancel, and would keep the rounding of every value it ever
  // held.
  double mean = 0, squares = 0;
  for_values([&](double kept) { mean += kept; });
  mean /= static_cast<double>(count_);
  for_values([&](double kept) { squares += (kept - mean) * (kept - mean); });
  const double deviation = std::sqrt(squares / static_cast<double>(count_ - 1));
  const double unit = std::max(deviation, kSmallestDeviation * std::abs(mean));
  return value == mean ? 0 : (value - mean) / unit;
}

bool SpikeDetector::is_spike(double value) const {
  const double distance = deviation(value);  // comparisons with NaN are false: not judged, no spike
  return rule_.above_only ? distance >= rule_.sigmas : std::abs(distance) >= rule_.sigmas;
}

void SpikeDetector::push(double value) {
  ring_[next_] = value;
  next_ = (next_ + 1) % ring_.size();
  count_ = std::min(count_ + 1, ring_.size());
}

void SpikeDetector::accept(double value) {
  PLUMB_CHECK(std::isfinite(value), "a value that is not finite cannot enter a window");
  if (count_ >= static_cast<std::size_t>(rule_.minimum)) ++judged_;
  streak_.clear();
  push(value);
}

void SpikeDetector::reject(double value) {
  ++judged_;
  ++spikes_;
  if (!std::isfinite(value)) return;
  streak_.push_back(value);
  if (streak_.size() < static_cast<std::size_t>(rule_.minimum)) return;
  next_ = count_ = 0;
  for (const double kept : streak_) push(kept);
  streak_.clear();
}

bool SpikeDetector::observe(double value) {
  const bool spike = is_spike(value);
  spike ? reject(value) : accept(value);
  return spike;
}

double SpikeDetector::score_percent() const {
  return judged_ == 0 ? 0 : 100.0 * static_cast<double>(spikes_) / static_cast<double>(judged_);
}

SpikeState SpikeDetector::state() const {
  SpikeState state{.window = {}, .streak = streak_, .judged = judged_, .spikes = spikes_};
  for (std::size_t i = 0; i < count_; ++i) {
    state.window.push_back(ring_[(next_ + ring_.size() - count_ + i) % ring_.size()]);
  }
  return state;
}

SpikeScore spike_score(std::span<const double> values, const SpikeRule& rule) {
  SpikeDetector detector(rule);
  SpikeScore score;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (detector.observe(values[i])) score.indices.push_back(static_cast<std::int64_t>(i));
  }
  score.percent = detector.score_percent();
  return score;
}

}  // namespace plumb

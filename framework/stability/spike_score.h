// Spikes of a series (loss, gradient norm): the two published rules, one value at a time, with a state that a
// checkpoint can hold.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace plumb {

/// A value is a spike when it lies `sigmas` or more standard deviations (unbiased) from the mean of the last
/// `window` values, itself not among them. Nothing is judged before `minimum` values are known.
struct SpikeRule {
  std::string_view name;
  std::int64_t window;
  std::int64_t minimum;
  double sigmas;
  bool above_only;  ///< true: only values above the mean can be spikes
  std::string_view source;
};

/// 7 standard deviations from the mean of 1000 values. The paper does not say how many values it waits for.
inline constexpr SpikeRule kOlmoSpikeScore = {"7 sigma of 1000 values",  1000, 128, 7, false,
                                              "OLMo 2, arXiv 2501.00656"};
/// 6 standard deviations above the mean of 128 values, from the 65th value on.
inline constexpr SpikeRule kOlmoStabilityMonitor = {
    "6 sigma above 128 values", 128, 64, 6, true, "OLMo-core, StabilityMonitor and SkipStepOptimizer"};

/// All that a SpikeDetector knows: numbers only.
struct SpikeState {
  std::vector<double> window;  ///< accepted values, oldest first; at most SpikeRule::window
  std::vector<double> streak;  ///< finite values rejected one after the other, newest last
  std::int64_t judged = 0;     ///< values that were decided on, those that are not finite included
  std::int64_t spikes = 0;     ///< of them

  bool operator==(const SpikeState&) const = default;
};

/// Judges values one by one. A spike does not enter the window, so that a second one is measured against the
/// same calm past; nor does a value that is not finite, which is always a spike. As many finite spikes in a
/// row as the rule's `minimum` are a new level: the window starts anew from them.
///
/// No allocation after the constructor. The standard deviation is taken as at least 1e-9 of the mean, so that
/// rounding in a constant series is no spike.
class SpikeDetector {
 public:
  explicit SpikeDetector(const SpikeRule& rule);
  /// Goes on where `state()` was taken. Error when the state cannot be one of this rule.
  SpikeDetector(const SpikeRule& rule, const SpikeState& state);

  /// Standard deviations between the value and the window's mean; NaN while the window is too short, infinite
  /// for a value that is not finite.
  double deviation(double value) const;
  bool is_spike(double value) const;

  /// For a caller that decides by more than this rule (loss or gradient norm, on reduced values): exactly one
  /// of the two per value.
  void accept(double value);
  void reject(double value);
  /// is_spike, then accept or reject. Returns whether it was a spike.
  bool observe(double value);

  /// Spikes per judged value in percent; 0 before the first judged value.
  double score_percent() const;
  SpikeState state() const;

 private:
  template <class Use>
  void for_values(Use&& use) const;
  void push(double value);

  SpikeRule rule_;
  std::vector<double> ring_, streak_;
  std::size_t next_ = 0, count_ = 0;
  std::int64_t judged_ = 0, spikes_ = 0;
};

struct SpikeScore {
  double percent = 0;                 ///< spikes per judged value
  std::vector<std::int64_t> indices;  ///< places of the spikes in the series
};
/// A whole series.
SpikeScore spike_score(std::span<const double> values, const SpikeRule& rule);

}  // namespace plumb

// Ranks whose loss, or whose gradient's norm, stays away from that of the other ranks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "stability/persistence.h"
#include "stability/rank_spread.h"

namespace plumb {

/// A rank that goes into alarm.
struct RankDeviation {
  int rank = 0;
  double difference = 0;  ///< of this step's value (or its logarithm) from the median of the others
  double deviation = 0;   ///< the same in robust standard deviations
};

/// Every step has a value from each rank. A rank's deviation u is that of its value from the median of the
/// other ranks, over 1.4826 times the median of |deviation| over all ranks of the last kWindow steps, each
/// rank's about their own median, or of the last kRecent steps if that is more (in warm-up the spread may
/// double within ten steps): the spread within one step says nothing with 4 ranks (|u| > 6 in 6.5 % of
/// clean steps). Values of ranks in alarm are left out of medians and window. An alarm begins when the
/// cumulative sum of u (Persistence) reaches its limit, and ends when it is 0 again.
///
/// Of 3 ranks only the farthest adds to its sum in a step, for it pulls the medians of the other two along.
/// Of 2 no rank is told from the other: both go into alarm together.
///
/// Values that are not finite, and of which there is no logarithm, are as if the rank had none in that step.
/// All ranks that observe the same values come to the same results. No allocation after the constructor.
class RankDeviations {
 public:
  static constexpr std::int64_t kWindow = 128;     ///< steps
  static constexpr std::int64_t kFewestSteps = 8;  ///< in the window, before anything is judged
  static constexpr std::int64_t kRecent = 16;      ///< steps
  /// Of the scale: a thousandth of a norm or a nat is no deviation.
  static constexpr double kLeastScale = 1e-3;

  enum class Measure { Value, Logarithm };
  RankDeviations(int ranks, Measure measure);

  /// `values` of all ranks, in rank order. Returns those whose alarm begins, until the next call.
  std::span<const RankDeviation> observe(std::span<const double> values);
  bool in_alarm(int rank) const { return alarms()[index(rank)] != 0; }
  /// The cumulative sum of a rank, and what it must reach.
  double sum(int rank) const;
  double limit() const { return limit_; }

  /// What a checkpoint holds: (n), n by the number of ranks. Written to in place.
  Tensor state();

 private:
  enum Head : int { kSteps = 0, kScale, kHead };
  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
  // Parts of the state.
  double& head(Head entry) { return state_[index(entry)]; }
  std::span<double> part(std::int64_t n) {
    return std::span(state_).subspan(index(kHead + n * ranks_), index(ranks_));
  }
  std::span<double> above() { return part(0); }
  std::span<double> below() { return part(1); }
  std::span<double> alarms() { return part(2); }
  std::span<const double> alarms() const {
    return std::span(state_).subspan(index(kHead + 2 * ranks_), index(ranks_));
  }
  std::span<double> window() { return std::span(state_).subspan(index(kHead + 3 * ranks_)); }

  void measure(std::span<const double> values);
  void deviate();
  void keep_farthest();
  void accumulate(double scale);
  void remember();
  double scale_of(std::int64_t steps);

  int ranks_;
  Measure measure_;
  double limit_;
  std::vector<double> state_;  ///< kHead | above | below | in alarm (R each) | (kWindow, R) deviations
  std::vector<double> measured_, deviations_;  ///< (R) of this step, NaN = none
  std::vector<double> counted_;  ///< (R) of the deviations, those that add to the sums; 0 = none
  MedianOfOthers medians_;
  std::vector<double> scratch_;
  std::vector<RankDeviation> begun_;
};

}  // namespace plumb

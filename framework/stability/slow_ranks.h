// Ranks that keep the others waiting.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "stability/rank_spread.h"

namespace plumb {

/// A rank that goes into alarm.
struct SlowRank {
  int rank = 0;
  std::int64_t steps = 0;     ///< one after the other in which it was slow, this one included
  double busy_seconds = 0;    ///< of this step
  double others_seconds = 0;  ///< median of the busy time of the other ranks in this step
  double lost_seconds = 0;    ///< by which it was busy longer than that, over those steps
};

/// A rank is slow in a step when it is busy (step time less the time it waited for gradients of others, and
/// less the time it was ready to run but had no core: that is the machine's doing) more than kFactor times as
/// long as the median of the other ranks. It goes into alarm when it has been slow in kSteps steps one after
/// the other and these have cost kLostSeconds. That is blunt on purpose: with more ranks than cores a rank is
/// often preempted for some time slices, though not in every step, and steps of milliseconds are too short to
/// tell preemption from work. The alarm ends after kSteps steps without.
///
/// Step times agree on all ranks once gathered, and so do the results. No allocation after the constructor.
class SlowRanks {
 public:
  static constexpr double kFactor = 2;
  static constexpr std::int64_t kSteps = 10;
  static constexpr double kLostSeconds = 0.5;

  explicit SlowRanks(int ranks);

  /// Of all ranks, in rank order. Returns those whose alarm begins, until the next call.
  std::span<const SlowRank> observe(std::span<const double> step_seconds,
                                    std::span<const double> wait_seconds,
                                    std::span<const double> preempted_seconds);

 private:
  enum Column : int { kSlow = 0, kLost, kCalm, kInAlarm, kColumns };
  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

  int ranks_;
  std::vector<double> state_;  ///< (R, kColumns): slow steps in a row, their cost, calm steps in a row, alarm
  std::vector<double> busy_;
  MedianOfOthers medians_;
  std::vector<SlowRank> begun_;
};

}  // namespace plumb

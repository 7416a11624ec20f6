#include "stability/slow_ranks.h"

#include <algorithm>

#include "core/error.h"

namespace plumb {

SlowRanks::SlowRanks(int ranks)
    : ranks_(ranks), state_(index(ranks * kColumns), 0.0), busy_(index(ranks)), medians_(ranks) {
  begun_.reserve(index(ranks));
}

std::span<const SlowRank> SlowRanks::observe(std::span<const double> step_seconds,
                                             std::span<const double> wait_seconds,
                                             std::span<const double> preempted_seconds) {
  PLUMB_CHECK(step_seconds.size() == index(ranks_) && wait_seconds.size() == index(ranks_) &&
                  preempted_seconds.size() == index(ranks_),
              "{}, {} and {} times of {} ranks", step_seconds.size(), wait_seconds.size(),
              preempted_seconds.size(), ranks_);
  begun_.clear();
  if (ranks_ < 2) return {};
  for (std::size_t rank = 0; rank < busy_.size(); ++rank)
    busy_[rank] = std::max(step_seconds[rank] - wait_seconds[rank] - preempted_seconds[rank], 0.0);
  medians_.collect(busy_, [](std::size_t) { return false; });
  for (int rank = 0; rank < ranks_; ++rank) {
    double* row = &state_[index(rank * kColumns)];
    const double busy = busy_[index(rank)], others = medians_.of(busy);
    if (!(busy > kFactor * others)) {
      row[kSlow] = row[kLost] = 0;
      row[kCalm] += 1;
      if (row[kCalm] >= static_cast<double>(kSteps)) row[kInAlarm] = 0;
      continue;
    }
    row[kCalm] = 0;
    row[kSlow] += 1;
    row[kLost] += busy - others;
    if (row[kInAlarm] != 0 || row[kSlow] < static_cast<double>(kSteps) || row[kLost] < kLostSeconds) continue;
    row[kInAlarm] = 1;
    begun_.push_back({rank, static_cast<std::int64_t>(row[kSlow]), busy, others, row[kLost]});
  }
  return begun_;
}

}  // namespace plumb

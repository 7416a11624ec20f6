#include "stability/rank_deviations.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
/// Of normal noise the standard deviation is so many median absolute deviations.
constexpr double kDeviationsPerMedian = 1.4826;
/// Values beyond which the window's median is not taken anew in every step.
constexpr std::int64_t kCheapWindow = 8192;

}  // namespace

RankDeviations::RankDeviations(int ranks, Measure measure)
    : ranks_(ranks),
      measure_(measure),
      limit_(persistence_limit(ranks)),
      state_(index(kHead + (3 + kWindow) * ranks), 0.0),
      measured_(index(ranks)),
      deviations_(index(ranks)),
      counted_(index(ranks)),
      medians_(ranks) {
  PLUMB_CHECK(ranks >= 1, "deviations of {} ranks", ranks);
  std::fill(window().begin(), window().end(), kNone);
  scratch_.reserve(index(kWindow * ranks));
  begun_.reserve(index(ranks));
}

std::span<const RankDeviation> RankDeviations::observe(std::span<const double> values) {
  PLUMB_CHECK(values.size() == index(ranks_), "{} values of {} ranks", values.size(), ranks_);
  begun_.clear();
  if (ranks_ < 2) return {};
  measure(values);
  deviate();
  const auto steps = static_cast<std::int64_t>(head(kSteps));
  const std::int64_t refresh = 1 + kWindow * ranks_ / kCheapWindow;
  if (steps >= kFewestSteps && (steps <= kWindow || steps % refresh == 0))
    head(kScale) = std::max(scale_of(kWindow), scale_of(kRecent));
  if (steps >= kFewestSteps) accumulate(std::max(head(kScale), kLeastScale));
  remember();
  return begun_;
}

void RankDeviations::measure(std::span<const double> values) {
  for (std::size_t rank = 0; rank < values.size(); ++rank) {
    const double value = values[rank];
    const double measured = measure_ == Measure::Value ? value : value > 0 ? std::log(value) : kNone;
    measured_[rank] = std::isfinite(measured) ? measured : kNone;
  }
}

void RankDeviations::deviate() {
  medians_.collect(measured_, [this](std::size_t rank) { return alarms()[rank] != 0; });
  for (std::size_t rank = 0; rank < measured_.size(); ++rank)
    deviations_[rank] = measured_[rank] - medians_.of(measured_[rank]);
  counted_ = deviations_;
  if (medians_.count() == 3 || (medians_.count() == 2 && ranks_ > 2)) keep_farthest();
}

/// Of those that are not in alarm; of two that are left none is told from the other.
void RankDeviations::keep_farthest() {
  std::size_t farthest = counted_.size();
  for (std::size_t rank = 0; rank < counted_.size() && medians_.count() == 3; ++rank) {
    if (std::isnan(counted_[rank]) || alarms()[rank] != 0) continue;
    if (farthest == counted_.size() || std::abs(counted_[rank]) > std::abs(counted_[farthest]))
      farthest = rank;
  }
  for (std::size_t rank = 0; rank < counted_.size(); ++rank) {
    if (rank != farthest && !std::isnan(counted_[rank]) && alarms()[rank] == 0) counted_[rank] = 0;
  }
}

/// A rank's values are taken about their own median: one that has been at fault from the start must not pass
/// for noise.
double RankDeviations::scale_of(std::int64_t steps) {
  const auto last = static_cast<std::int64_t>(head(kSteps)) - 1;
  scratch_.clear();
  for (int rank = 0; rank < ranks_; ++rank) {
    const std::size_t first = scratch_.size();
    for (std::int64_t step = last; step > last - steps && step >= 0; --step) {
      const double value = window()[index(step % kWindow * ranks_ + rank)];
      if (!std::isnan(value)) scratch_.push_back(value);
    }
    const std::span<double> own = std::span(scratch_).subspan(first);
    const double centre = median_of(own);
    for (double& value : own) value = std::abs(value - centre);
  }
  if (scratch_.empty()) return head(kScale);
  return kDeviationsPerMedian * median_of(scratch_);
}

void RankDeviations::accumulate(double scale) {
  for (int rank = 0; rank < ranks_; ++rank) {
    const std::size_t r = index(rank);
    if (std::isnan(counted_[r])) continue;
    Persistence sums{above()[r], below()[r]};
    sums.add(counted_[r] / scale, limit_);
    above()[r] = sums.above;
    below()[r] = sums.below;
    if (alarms()[r] != 0) {
      if (sums.is_over()) alarms()[r] = 0;
    } else if (sums.largest() >= limit_) {
      alarms()[r] = 1;
      begun_.push_back({rank, deviations_[r], deviations_[r] / scale});
    }
  }
}

void RankDeviations::remember() {
  const auto steps = static_cast<std::int64_t>(head(kSteps));
  const std::span<double> row = window().subspan(index(steps % kWindow * ranks_), index(ranks_));
  std::size_t in_alarm = 0;
  for (const double alarm : alarms()) in_alarm += alarm != 0 ? 1 : 0;
  // Where most ranks are out of line it is the scale that is.
  const bool leaves_out = ranks_ == 2 || 2 * in_alarm <= alarms().size();
  for (std::size_t rank = 0; rank < row.size(); ++rank)
    row[rank] = leaves_out && alarms()[rank] != 0 ? kNone : deviations_[rank];
  if (ranks_ == 2) row[1] = kNone;  // the first one's with the other sign
  head(kSteps) += 1;
}

double RankDeviations::sum(int rank) const {
  const std::size_t first = index(kHead + rank);
  return std::max(state_[first], state_[first + index(ranks_)]);
}

Tensor RankDeviations::state() {
  return Tensor(state_.data(), DType::Float64, {static_cast<std::int64_t>(state_.size())});
}

}  // namespace plumb

#include "stability/tensor_deviations.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kLargestDeviation = 6;

}  // namespace

TensorDeviations::TensorDeviations(int ranks, std::int64_t tensors)
    : ranks_(ranks),
      tensors_(tensors),
      limit_(persistence_limit(static_cast<double>(ranks) *
                               static_cast<double>(std::max<std::int64_t>(tensors, 1)))),
      state_(ranks < 3 ? 1 : index(1 + 2 * tensors + 3 * tensors * ranks), 0.0),
      norms_(index(ranks)),
      deviations_(index(ranks)),
      medians_(ranks) {
  begun_.reserve(index(ranks));
}

void TensorDeviations::observe_tensor(std::int64_t tensor) {
  for (double& norm : norms_) norm = norm > 0 ? std::log(norm) : std::numeric_limits<double>::quiet_NaN();
  for (double& norm : norms_) norm = std::isfinite(norm) ? norm : std::numeric_limits<double>::quiet_NaN();
  const auto in_alarm = [&](std::size_t rank) { return entry(static_cast<int>(rank), tensor)[2] != 0; };
  medians_.collect(norms_, in_alarm);
  for (std::size_t rank = 0; rank < norms_.size(); ++rank)
    deviations_[rank] = norms_[rank] - medians_.of(norms_[rank]);

  double* moving = scale_of(tensor);
  const double mean = moving[1] == 0 ? 0 : moving[0] / moving[1];
  const double scale = std::max(mean * std::sqrt(std::numbers::pi / 2), kLeastScale);
  const bool is_judged = state_[0] >= kFewestRecords;
  if (is_judged) judge(tensor, scale);

  double sum = 0, count = 0;
  for (std::size_t rank = 0; rank < norms_.size(); ++rank) {
    if (std::isnan(deviations_[rank]) || in_alarm(rank)) continue;
    const double size = std::abs(deviations_[rank]);
    sum += is_judged ? std::min(size, kLargestDeviation * scale) : size;
    count += 1;
  }
  if (count == 0) return;
  moving[0] = kDecay * moving[0] + sum / count;
  moving[1] = kDecay * moving[1] + 1;
}

void TensorDeviations::judge(std::int64_t tensor, double scale) {
  std::size_t farthest = 0;  // of three ranks it alone counts (rank_deviations.h)
  if (medians_.count() == 3) {
    for (std::size_t rank = 1; rank < deviations_.size(); ++rank) {
      if (!(std::abs(deviations_[rank]) <= std::abs(deviations_[farthest]))) farthest = rank;
    }
  }
  for (int rank = 0; rank < ranks_; ++rank) {
    const double deviation = deviations_[index(rank)];
    if (std::isnan(deviation)) continue;
    double* own = entry(rank, tensor);
    const bool counts = medians_.count() != 3 || index(rank) == farthest || own[2] != 0;
    Persistence sums{own[0], own[1]};
    sums.add(counts ? deviation / scale : 0, limit_);
    own[0] = sums.above;
    own[1] = sums.below;
    if (own[2] != 0) {
      if (sums.is_over()) own[2] = 0;
    } else if (sums.largest() >= limit_) {
      own[2] = 1;
      begin(rank, tensor, scale);
    }
  }
}

void TensorDeviations::begin(int rank, std::int64_t tensor, double scale) {
  const double difference = deviations_[index(rank)], deviation = difference / scale;
  for (TensorDeviation& other : begun_) {
    if (other.rank != rank) continue;
    other.tensors += 1;
    if (std::abs(deviation) > std::abs(other.deviation)) {
      other.tensor = tensor;
      other.difference = difference;
      other.deviation = deviation;
    }
    return;
  }
  begun_.push_back({rank, tensor, 1, difference, deviation});
}

double TensorDeviations::sum(int rank, std::int64_t tensor) const {
  const double* own = &state_[index(1 + 2 * tensors_ + 3 * (tensor * ranks_ + rank))];
  return std::max(own[0], own[1]);
}

double TensorDeviations::share_deviating(int rank) const {
  if (ranks_ < 3 || tensors_ == 0) return 0;
  std::int64_t deviating = 0;
  for (std::int64_t tensor = 0; tensor < tensors_; ++tensor)
    deviating += sum(rank, tensor) >= limit_ / 4 ? 1 : 0;
  return static_cast<double>(deviating) / static_cast<double>(tensors_);
}

std::int64_t TensorDeviations::farthest(int rank) const {
  std::int64_t found = 0;
  for (std::int64_t tensor = 1; tensor < tensors_; ++tensor)
    if (sum(rank, tensor) > sum(rank, found)) found = tensor;
  return found;
}

Tensor TensorDeviations::state() {
  return Tensor(state_.data(), DType::Float64, {static_cast<std::int64_t>(state_.size())});
}

}  // namespace plumb

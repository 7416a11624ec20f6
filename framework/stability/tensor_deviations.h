// Tensors whose gradient on one rank stays away from that on the other ranks: which tensor is at fault.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/tensor.h"
#include "stability/persistence.h"
#include "stability/rank_spread.h"

namespace plumb {

/// Tensors that go into alarm on one rank with the same record.
struct TensorDeviation {
  int rank = 0;
  std::int64_t tensor = 0;   ///< the one that is farthest away
  std::int64_t tensors = 0;  ///< how many they are
  double difference = 0;     ///< of the farthest: log norm less the median over the other ranks
  double deviation = 0;      ///< the same in standard deviations
};

/// RankDeviations for every tensor, with a memory that fits the number of tensors: in the place of a window
/// the scale is a moving mean of |deviation| over the ranks that are not in alarm (sqrt(pi/2) times it is the
/// standard deviation of normal noise), kDecay per record, each value cut at 6 scales. Nothing with fewer
/// than 3 ranks, where no rank can be named.
class TensorDeviations {
 public:
  static constexpr double kDecay = 0.98;
  static constexpr std::int64_t kFewestRecords = 8;
  static constexpr double kLeastScale = 1e-3;

  TensorDeviations(int ranks, std::int64_t tensors);

  /// norm_of(rank, tensor): 2-norm before reduction. Returns what begins, until the next call.
  template <class NormOf>
  std::span<const TensorDeviation> observe(NormOf&& norm_of) {
    begun_.clear();
    if (ranks_ < 3) return {};
    for (std::int64_t tensor = 0; tensor < tensors_; ++tensor) {
      for (int rank = 0; rank < ranks_; ++rank) norms_[index(rank)] = norm_of(rank, tensor);
      observe_tensor(tensor);
    }
    state_[0] += 1;
    return begun_;
  }
  /// Share of the tensors of a rank that are at a quarter of their limit or beyond.
  double share_deviating(int rank) const;
  /// The tensor of a rank with the largest sum.
  std::int64_t farthest(int rank) const;
  double limit() const { return limit_; }

  /// What a checkpoint holds: (n), n by the numbers of ranks and tensors. Written to in place.
  Tensor state();

 private:
  struct Entry {
    double above, below, in_alarm;
  };
  static std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }
  double* scale_of(std::int64_t tensor) { return &state_[index(1 + 2 * tensor)]; }  ///< weighted sum, weight
  double* entry(int rank, std::int64_t tensor) {
    return &state_[index(1 + 2 * tensors_ + 3 * (tensor * ranks_ + rank))];
  }
  double sum(int rank, std::int64_t tensor) const;
  void observe_tensor(std::int64_t tensor);
  void judge(std::int64_t tensor, double scale);
  void begin(int rank, std::int64_t tensor, double scale);

  int ranks_;
  std::int64_t tensors_;
  double limit_;
  /// records | per tensor weighted sum of |deviation| and weight | (P, R) above, below, in alarm
  std::vector<double> state_;
  std::vector<double> norms_, deviations_;  ///< (R) of the tensor at hand
  MedianOfOthers medians_;
  std::vector<TensorDeviation> begun_;
};

}  // namespace plumb

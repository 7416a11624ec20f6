// StepSources: what the formulas of the table read of one step, once the ranks have met.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/ops/optimizer.h"
#include "stability/gradient_noise.h"
#include "stability/statistics_layout.h"
#include "stability/step_record.h"

namespace plumb {

/// Of a number that every rank has; std is the population's.
struct RankSpread {
  double minimum = 0, mean = 0, maximum = 0, standard_deviation = 0;
  int argmax = 0;  ///< the lowest rank with the largest one; a NaN is larger than all
};

/// What the optimiser says of every tensor, in the order in which StepStatistics keeps it.
enum OptimizerList : int {
  kReducedSquares = 0,
  kUpdateSquares,
  kParameterSquares,
  kLagSquares,  ///< of every step, the others of sampled ones
  kEpsDominated,
  kOptimizerLists
};

/// Everything in it is the same on every rank. What is of a sampled step is only to be asked for in one.
class StepSources {
 public:
  /// Views of StepStatistics' memory.
  struct Views {
    std::span<const double> parts;              ///< this rank's device buffer, for what all have alike
    std::span<const double> sums;               ///< all-reduced
    std::span<const double> rows;               ///< all-gathered, (world, row)
    std::span<const double> optimizer_results;  ///< (kOptimizerLists, P)
    std::span<const double> shift;              ///< (M, C), what the column sums are about
    std::span<const double> targets_factors;    ///< (world) targets of all ranks / those of the rank
  };
  StepSources(const StatisticsShape& shape, const StatisticsLayout& layout, int world, const Views& views,
              const StepScalars& scalars, const NoiseScales& noise_scales)
      : shape_(shape),
        layout_(layout),
        world_(world),
        views_(views),
        scalars_(scalars),
        noise_scales_(noise_scales) {}

  /// Whose data the step has.
  void set_cadence(Cadence cadence) { cadence_ = cadence; }
  const StatisticsShape& shape() const { return shape_; }
  int world() const { return world_; }
  const StepScalars& scalars() const { return scalars_; }

  Cadence cadence() const { return cadence_; }

  // Any step.
  const double* row(int rank) const;
  double sum_of(std::int64_t place) const;      ///< over ranks, of an entry of their rows
  double largest_of(std::int64_t place) const;  ///< a NaN wins
  double smallest_of(std::int64_t place) const;
  /// Of the mean gradient over the rank's own targets, before reduction.
  double rank_gradient_norm(int rank) const;
  RankSpread gradient_spread() const;
  /// Over the rank's own targets; NaN without any.
  double rank_loss(int rank) const { return row(rank)[kRowCrossEntropy] / row(rank)[kRowTargets]; }
  RankSpread loss_spread() const;
  /// Place in the data order of the first sequence that the rank read: ranks read one after the other's.
  std::int64_t first_sequence(int rank) const;
  /// Noise can be told with 2 of them.
  int ranks_with_sequences() const;
  GradientNoise gradient_noise() const;
  /// Entry 0 is of the whole gradient, 1 + i of tensor i.
  const NoiseScales& noise_scales() const { return noise_scales_; }
  /// RMS_t of a tensor (arXiv 2304.13013); absent of a skipped step and of optimisers without a second
  /// moment.
  double adam_lag(std::int64_t tensor) const;

  // Sampled steps. Probes are counted stream 0..K, then branch K+1..2K.
  double moment(std::int64_t probe, MomentScalar scalar) const;  ///< summed over ranks; the sums only
  double entries(std::int64_t probe) const;                      ///< rows * C
  double max_abs(std::int64_t probe) const { return largest_of(layout_.row_max_abs() + probe); }
  double max_row_square(std::int64_t probe) const {
    return largest_of(layout_.row_max_row_squares() + probe);
  }
  double interval_minimum(std::int64_t probe, TrackedValue value) const;
  double interval_maximum(std::int64_t probe, TrackedValue value) const;
  /// A part that is summed over ranks; entry i of it.
  double summed(PartName part, std::int64_t i) const;
  /// A part that is the same on all ranks; entry i of it.
  double common(PartName part, std::int64_t i) const;
  /// A part that is gathered: the largest over ranks of entry i.
  double largest(PartName part, std::int64_t i) const { return largest_of(layout_.part(part).exchanged + i); }
  /// (C) of a probe: column mean, and variance about it.
  double column_mean(std::int64_t probe, std::int64_t feature) const;
  double column_variance(std::int64_t probe, std::int64_t feature) const;

  // Sampled steps, per tensor.
  double reduced_square(std::int64_t tensor) const { return optimizer(kReducedSquares, tensor); }
  double update_square(std::int64_t tensor) const { return optimizer(kUpdateSquares, tensor); }
  double parameter_square(std::int64_t tensor) const { return optimizer(kParameterSquares, tensor); }
  /// Entries whose second moment is below eps^2; absent as adam_lag is.
  double eps_dominated(std::int64_t tensor) const;
  /// 2-norm over the mean gradient over the rank's own targets, before reduction.
  double local_norm(int rank, std::int64_t tensor) const;
  RankSpread local_spread(std::int64_t tensor) const;
  GradientNoise tensor_noise(std::int64_t tensor) const;

 private:
  template <class NormOfRank>
  RankSpread spread(NormOfRank&& norm_of) const;
  template <class NormOfRank>
  GradientNoise noise(double gradient_square, NormOfRank&& norm_of) const;
  double optimizer(OptimizerList list, std::int64_t tensor) const {
    return views_.optimizer_results[static_cast<std::size_t>(list * shape_.tensors + tensor)];
  }

  const StatisticsShape& shape_;
  const StatisticsLayout& layout_;
  int world_;
  Views views_;
  const StepScalars& scalars_;
  const NoiseScales& noise_scales_;
  Cadence cadence_ = Cadence::EveryStep;
};

/// Unlike std::min this never loses a NaN.
inline double minimum_or_nan(double a, double b) { return a <= b || a != a ? a : b; }

}  // namespace plumb

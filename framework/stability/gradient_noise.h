// The gradient noise of a data-parallel step, from norms that are known anyway; and its moving averages.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace plumb {

/// What R ranks with n_r of the n sequences of a step say of the gradient G of the expected loss and of the
/// covariance Sigma of a single sequence's gradient. With g_r the mean gradient over the rank's sequences, g
/// that over all, m = sum_r (n_r/n) |g_r|^2 (arXiv 1812.06162, appendix A, here for unequal ranks; the sample
/// is a sequence, not a token):
struct GradientNoise {
  double square = 0;     ///< (R |g|^2 - m)/(R-1): estimates |G|^2 without bias, so it may be negative
  double trace = 0;      ///< n (m - |g|^2)/(R-1): estimates tr Sigma
  double agreement = 0;  ///< square / m: mean cosine of two ranks' gradients where their norms are equal
};

/// Ranks without a sequence must not be counted; `ranks` >= 2.
GradientNoise gradient_noise(double gradient_square, double mean_rank_square, double sequences, int ranks);

/// Moving averages of numerator and denominator of the simple noise scale tr Sigma / |G|^2, smoothed apart
/// because both are noisy: the mean of the ratios is not the ratio of the means. One entry for the whole
/// gradient and one per tensor.
class NoiseScales {
 public:
  /// decay: weight of a value, for every step of its age.
  NoiseScales(std::int64_t entries, double decay);

  /// Values that are not finite leave the entry as it is.
  void update(std::int64_t entry, std::int64_t step, const GradientNoise& noise);
  double trace(std::int64_t entry) const { return mean(entry, kTrace); }  ///< absent before the first update
  double square(std::int64_t entry) const { return mean(entry, kSquare); }
  /// tr Sigma / |G|^2 in sequences; absent while the averages do not say that |G|^2 > 0.
  double scale(std::int64_t entry) const;

  /// (entries, 4): what a checkpoint holds.
  Tensor state();

 private:
  enum Column : int { kTrace = 0, kSquare, kWeight, kStep, kColumns };
  double mean(std::int64_t entry, Column column) const;

  double decay_;
  std::vector<double> state_;  ///< weighted sums of trace and square, sum of weights, step they are of
};

}  // namespace plumb

// From the stream to the loss: how much the loss stretches distances, how far two samples are apart, and what
// the two say about the gap between training and validation loss.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace plumb {

/// x -> loss of one sample, x its stream at some level (all its rows, one after the other).
using SampleLoss = std::function<double(std::span<const double> x)>;

struct Stretch {
  double random = 0;  ///< largest |l(x + h v) - l(x)| / h over random unit directions v
  double worst = 0;   ///< the same along the gradient, both ways; 0 when it is 0
  double largest() const { return random > worst ? random : worst; }
};

/// gradient: dL/dx at x; step: h, in the units of x. Differences at finite distance are attained stretches,
/// so the largest is a LOWER estimate of the Lipschitz constant of the loss, never a bound: "Diagnostics" in
/// docs/design/theory.md.
Stretch stretch_at(const SampleLoss& loss, std::span<const double> x, std::span<const double> gradient,
                   double step, int directions, std::uint64_t seed);

/// The largest stretch between given pairs: |l_i - l_j| / |x_i - x_j| over all pairs of `samples` rows of
/// `width` entries in x. Pairs at distance 0 are left out.
double pair_stretch(std::span<const double> x, std::span<const double> losses, std::int64_t width);

/// W_1 between two samples of n points each, (n, width) in rows: the mean of |x_i - y_s(i)|_2 under the
/// cheapest assignment s (assignment.h). Exact for the two empirical measures; the distance between the
/// distributions that they were drawn from differs from it by the sampling error.
double wasserstein_distance(std::span<const double> x, std::span<const double> y, std::int64_t width);

/// |E_mu l - E_nu l| <= C W_1(mu, nu) for a C-Lipschitz loss (Kantorovich and Rubinstein; arXiv 2510.09904
/// and 2505.13499 take generalisation bounds from it). With the largest stretch seen in the place of C it
/// bounds nothing: it is printed beside the measured gap.
struct GeneralisationDiagnostic {
  double stretch = 0, distance = 0;
  double predicted = 0;  ///< stretch * distance
  double measured = 0;   ///< validation loss - training loss, on the samples that the distance is between
  double ratio() const { return measured / predicted; }
};
GeneralisationDiagnostic generalisation_diagnostic(double stretch, double distance, double training_loss,
                                                   double validation_loss);

}  // namespace plumb

// Moments of functions of a Gaussian, by quadrature: what an activation or a norm does to a variance.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/ops/norm.h"
#include "config/model_config.h"
#include "theory/activation_constants.h"

namespace plumb {

/// E f(n), n a standard normal: the trapezoidal rule on [-10, 10] in steps of 1/64, which is exact to
/// rounding for smooth f and to about 1e-5 where f has a kink at 0.
double gaussian_mean(const std::function<double(double n)>& f);

/// An activation at pre-activations of variance v.
struct ActivationMoments {
  double square = 0;        ///< E act(h)^2 per entry; gated: both halves of variance v, independent
  double slope_square = 0;  ///< mean-square gain from the gradient of act(h) to that of h
  /// E act(h) act(h') = sum_m hermite[m]^2 q^m for two pre-activations of correlation q (Mehler's formula);
  /// the last entry holds what higher orders leave, so that q = 1 gives `square`. Gated: times v q.
  std::vector<double> hermite{};
  /// The same of the slope.
  std::vector<double> slope_hermite{};
  bool gated = false;
  double gate = 1;  ///< 1, or v for a gated activation

  /// Correlation of act(h) with act(h') of another layer when those of h and h' are correlated by q.
  double correlation(const ActivationMoments& other, double q) const;
  /// Of the gradients of h and h', for one gradient of both act(h) and act(h'), over slope_square.
  double slope_correlation(double q) const;
};
ActivationMoments activation_moments(const ActivationConstants& activation, bool gated, double variance);

/// A norm at entries of mean 0 and mean square v, with its gain at its start.
struct NormMoments {
  double square = 0;  ///< mean square of what leaves it
  double backward =
      1;  ///< mean-square gain of the gradient, but for the one or two directions it projects out
};
/// layernorm, rmsnorm: g^2 v / (v + eps), g^2 / (v + eps); l2 over D entries the same over D; dyt and derf by
/// quadrature. An empty slot passes everything.
NormMoments norm_moments(const NormConfig& norm, NormKind kind, std::int64_t width, double square);

}  // namespace plumb

// The models of growth_class.h fitted to one depth profile; used by growth_class.cpp.
#pragma once

#include <span>
#include <vector>

#include "stability/growth_class.h"

namespace plumb {

/// log Var_k against depth. Values that are not above 0 have no logarithm and are left out.
struct DepthProfile {
  explicit DepthProfile(std::span<const double> variance);
  int size() const { return static_cast<int>(depth.size()); }

  double start = 0;  ///< Var_0
  std::vector<double> depth, log_depth, log_variance;
};

/// A fitted model. c = exp(log_scale), parameter = exp(log_parameter): positive without constraints. Of
/// Constant, exp(log_scale) is Var_k itself, since its c may be below 0.
struct GrowthCurve {
  double log_scale = 0, log_parameter = 0;
  double error = 0;                     ///< scale of the Student distribution of log Var_k - log fit_k
  double minus_two_log_likelihood = 0;  ///< without its constant
  std::vector<double> fit, residuals;   ///< log fit_k; log Var_k - log fit_k
  std::vector<double> weights;          ///< of the residuals, 1 and less: what stands out counts little
};

/// Models with a parameter of their own besides c.
bool has_parameter(GrowthModel model);
/// Whether the search for the parameter ended at the smallest or largest value that is tried.
bool parameter_is_at_limit(const GrowthCurve& curve, GrowthModel model);

/// Maximum likelihood for errors of log Var_k that follow Student's distribution of four degrees (Lange,
/// Little and Taylor, JASA 84, 1989): one sublayer that stands out does not decide the fit. From several
/// starts.
GrowthCurve fit_growth(const DepthProfile& profile, GrowthModel model);

/// Standard deviation of log parameter where errors may add up from sublayer to sublayer: Var_k = fit_k (1 +
/// e_k) + sum_{j <= k} D_j n_j, D_j the rise of the fit at sublayer j, e and n independent. The ratio of the
/// variances of n and e is chosen by likelihood, with a scalar Kalman filter (a random walk seen through
/// noise: Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989).
double parameter_deviation(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve);

}  // namespace plumb

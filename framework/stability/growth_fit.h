// The models of growth_class.h fitted to one depth profile by least squares; used by growth_class.cpp.
#pragma once

#include <span>
#include <vector>

#include "stability/growth_class.h"

namespace plumb {

/// log Var_k against depth, with the weights that make errors of neighbouring sublayers independent.
///
/// log Var_k is off by an error of its own plus what has gone wrong on the way: Var_k = V_k (1 + e_k) +
/// sum_{j <= k} D_j n_j, where V is a curve close to Var, D_j its rise at sublayer j, and e and n are
/// independent. The ratio of the variances of n and e is the accumulation; a scalar Kalman filter (a random
/// walk seen through noise) then gives residuals that are independent (Harvey, Forecasting, Structural Time
/// Series Models and the Kalman Filter, 1989).
class DepthProfile {
 public:
  /// Values that are not above 0 have no logarithm and are left out.
  explicit DepthProfile(std::span<const double> variance);

  int size() const { return static_cast<int>(depth.size()); }
  /// curve: log V at every value.
  void set_accumulation(double ratio, const std::vector<double>& curve);
  /// In place: residuals of log Var_k, or their derivatives, to independent ones of equal variance.
  void whiten(std::vector<double>& values) const;
  /// Sum of the logarithms of the variances that whiten() divides by.
  double log_determinant() const { return log_determinant_; }

  double start = 0;  ///< Var_0
  std::vector<double> depth, log_depth, variance, log_variance;

 private:
  std::vector<double> level_, gain_, inverse_deviation_;
  double log_determinant_ = 0;
};

/// c = exp(log_scale), parameter = exp(log_parameter): positive without constraints.
struct GrowthCurve {
  double log_scale = 0, log_parameter = 0;
  double squares = 0;  ///< of the whitened residuals
};

/// Whether the search for the parameter ended at the smallest or largest value that is tried.
bool parameter_is_at_limit(const GrowthCurve& curve, GrowthModel model);
/// Models with a parameter of their own besides c.
bool has_parameter(GrowthModel model);
/// Least squares from several starts; Constant is not fitted here: its c may be below 0.
GrowthCurve fit_growth(const DepthProfile& profile, GrowthModel model);
/// The same from where another fit ended.
GrowthCurve fit_growth_from(const DepthProfile& profile, GrowthModel model, const GrowthCurve& start);
/// log c' with c' = Var_k for all k, as `log_scale`.
GrowthCurve fit_constant(const DepthProfile& profile);

/// log fit_k.
std::vector<double> fitted_curve(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve);
/// Standard deviation of log parameter for residuals of variance 1.
double parameter_deviation(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve);

}  // namespace plumb

#include "stability/growth_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace plumb {
namespace {

constexpr double kDegrees = 4;    // of Student's distribution
constexpr double kExact = 1e-10;  // an error below this is rounding, and models that reach it fit alike
/// Ratios of the variance of accumulated errors to that of errors of their own.
constexpr double kAccumulations[] = {0, 1, 10, 100, 1e3, 1e4, 1e6};

struct ParameterRange {
  double lowest, highest;
  std::array<double, 3> starts;
};

ParameterRange parameter_range(GrowthModel model) {
  switch (model) {
    case GrowthModel::Saturating:
      return {1e-3, 1.0 / 3, {0.02, 0.1, 0.3}};
    case GrowthModel::Power:
      return {1e-2, 50, {0.3, 1, 3}};
    case GrowthModel::Exponential:
      return {1, 500, {1.5, 5, 20}};
    default:
      return {1, 1, {1, 1, 1}};
  }
}

/// The model's shape at depth x, 1 at x = 1, and its derivative by the logarithm of the parameter.
struct Shape {
  double value = 0, slope = 0;
};

Shape shape_at(GrowthModel model, double parameter, double x, double log_x) {
  switch (model) {
    case GrowthModel::Saturating: {
      const double whole = -std::expm1(-1 / parameter), part = -std::expm1(-x / parameter);
      const double whole_slope = -std::exp(-1 / parameter) / parameter;
      const double part_slope = -x * std::exp(-x / parameter) / parameter;
      return {part / whole, (part_slope * whole - part * whole_slope) / (whole * whole)};
    }
    case GrowthModel::Power: {
      const double value = std::exp(parameter * log_x);
      return {value, value * parameter * log_x};
    }
    case GrowthModel::Exponential: {
      // expm1(r x) / expm1(r) without the overflow of a large r.
      const double whole = -std::expm1(-parameter), part = -std::expm1(-parameter * x);
      const double value = std::exp(parameter * (x - 1)) * part / whole;
      return {value, value * parameter * ((x - 1) + x * (1 - part) / part - (1 - whole) / whole)};
    }
    case GrowthModel::Linear:
      return {x, 0};
    case GrowthModel::Quadratic:
      return {x * x, 0};
    case GrowthModel::Constant:
      return {1, 0};
  }
  return {};
}

/// Derivatives of log fit_k by log c and log parameter.
struct Derivatives {
  std::vector<double> by_scale, by_parameter;
};

/// Sets fit and residuals of the curve.
Derivatives evaluate(const DepthProfile& profile, GrowthModel model, GrowthCurve& curve) {
  const double scale = std::exp(curve.log_scale), parameter = std::exp(curve.log_parameter);
  const std::size_t count = profile.depth.size();
  Derivatives derivatives{std::vector<double>(count), std::vector<double>(count)};
  curve.fit.resize(count);
  curve.residuals.resize(count);
  for (std::size_t k = 0; k < count; ++k) {
    const Shape shape = shape_at(model, parameter, profile.depth[k], profile.log_depth[k]);
    const double start = model == GrowthModel::Constant ? 0 : profile.start;
    const double fit = start + scale * shape.value;
    curve.fit[k] = std::log(fit);
    curve.residuals[k] = profile.log_variance[k] - curve.fit[k];
    derivatives.by_scale[k] = scale * shape.value / fit;
    derivatives.by_parameter[k] = scale * shape.slope / fit;
  }
  return derivatives;
}

/// Weighted sums of products of residuals and derivatives.
struct NormalEquations {
  double squares = 0, cc = 0, cp = 0, pp = 0, rc = 0, rp = 0;
};

NormalEquations linearise(const DepthProfile& profile, GrowthModel model, GrowthCurve& curve) {
  const Derivatives by = evaluate(profile, model, curve);
  NormalEquations sums;
  for (std::size_t k = 0; k < curve.residuals.size(); ++k) {
    const double w = curve.weights[k], r = curve.residuals[k];
    sums.squares += w * r * r;
    sums.cc += w * by.by_scale[k] * by.by_scale[k];
    sums.cp += w * by.by_scale[k] * by.by_parameter[k];
    sums.pp += w * by.by_parameter[k] * by.by_parameter[k];
    sums.rc += w * r * by.by_scale[k];
    sums.rp += w * r * by.by_parameter[k];
  }
  if (!std::isfinite(sums.squares)) sums.squares = std::numeric_limits<double>::infinity();
  return sums;
}

/// The step of Levenberg and Marquardt: steepest descent for a large damping, Gauss-Newton for a small one.
void step(GrowthCurve& curve, const NormalEquations& sums, double damping, bool move_parameter) {
  const double cc = sums.cc * (1 + damping) + 1e-300, pp = sums.pp * (1 + damping) + 1e-300;
  if (!move_parameter) {
    curve.log_scale += sums.rc / cc;
    return;
  }
  const double determinant = cc * pp - sums.cp * sums.cp;
  curve.log_scale += (sums.rc * pp - sums.rp * sums.cp) / determinant;
  curve.log_parameter += (sums.rp * cc - sums.rc * sums.cp) / determinant;
}

/// Least squares with the curve's weights, from where the curve is.
void minimise(const DepthProfile& profile, GrowthModel model, GrowthCurve& curve) {
  const auto [lowest, highest] =
      std::minmax_element(profile.log_variance.begin(), profile.log_variance.end());
  const ParameterRange range = parameter_range(model);
  const double first = std::log(range.lowest), last = std::log(range.highest);
  NormalEquations sums = linearise(profile, model, curve);
  double damping = 1e-3;
  for (int iteration = 0; iteration < 60 && damping < 1e8; ++iteration) {
    // A parameter at its limit that would go beyond stays there while c moves on.
    const bool stuck =
        (curve.log_parameter <= first && sums.rp < 0) || (curve.log_parameter >= last && sums.rp > 0);
    GrowthCurve next = curve;
    step(next, sums, damping, has_parameter(model) && !stuck);
    next.log_scale = std::clamp(next.log_scale, *lowest - 40, *highest + 40);
    next.log_parameter = std::clamp(next.log_parameter, first, last);
    const NormalEquations next_sums = linearise(profile, model, next);
    if (!(next_sums.squares < sums.squares)) {
      damping *= 10;
      continue;
    }
    const bool converged = sums.squares - next_sums.squares <= 1e-9 * sums.squares;
    curve = next;
    sums = next_sums;
    damping /= 10;
    if (converged) break;
  }
  evaluate(profile, model, curve);
}

/// Error, weights and likelihood of the residuals as they are: the fixed point of error^2 = mean of w r^2.
void set_errors(GrowthCurve& curve) {
  const auto count = static_cast<double>(curve.residuals.size());
  double squares = 0;
  for (const double r : curve.residuals) squares += r * r;
  double error_squared = std::max(squares / count, kExact * kExact);
  const auto weight = [&](double r) { return (kDegrees + 1) / (kDegrees + r * r / error_squared); };
  for (int iteration = 0; iteration < 100; ++iteration) {
    double weighted = 0;
    for (const double r : curve.residuals) weighted += weight(r) * r * r;
    const double next = std::max(weighted / count, kExact * kExact);
    const bool converged = std::abs(next - error_squared) <= 1e-10 * error_squared;
    error_squared = next;
    if (converged) break;
  }
  curve.error = std::sqrt(error_squared);
  curve.minus_two_log_likelihood = count * std::log(error_squared);
  curve.weights.clear();
  for (const double r : curve.residuals) {
    curve.minus_two_log_likelihood += (kDegrees + 1) * std::log1p(r * r / (kDegrees * error_squared));
    curve.weights.push_back(weight(r) * kDegrees / (kDegrees + 1));
  }
}

/// Expectation and maximisation by turns, each of which raises the likelihood.
GrowthCurve maximise(const DepthProfile& profile, GrowthModel model, double log_scale, double log_parameter) {
  GrowthCurve curve{.log_scale = log_scale,
                    .log_parameter = log_parameter,
                    .error = 0,
                    .minus_two_log_likelihood = std::numeric_limits<double>::infinity(),
                    .fit = {},
                    .residuals = {},
                    .weights = std::vector<double>(profile.depth.size(), 1.0)};
  for (int iteration = 0; iteration < 50; ++iteration) {
    const double before = curve.minus_two_log_likelihood;
    minimise(profile, model, curve);
    set_errors(curve);
    if (before - curve.minus_two_log_likelihood < 1e-3) break;
  }
  return curve;
}

/// A random walk seen through noise: level V_k, rises D_k, and the ratio of their variances.
struct AccumulatedErrors {
  std::vector<double> level, rise;

  /// Sum of squares of the innovations, each divided by its variance, and the sum of the logarithms of the
  /// latter.
  std::pair<double, double> innovations(const std::vector<double>& residuals, double ratio) const {
    double walked = 0, estimate = 0, squares = 0, logs = 0;
    for (std::size_t k = 0; k < residuals.size(); ++k) {
      walked += ratio * rise[k] * rise[k];
      const double own = level[k] * level[k], both = walked + own;
      const double news = level[k] * residuals[k] - estimate;
      squares += news * news / both;
      logs += std::log(both / own);
      estimate += walked / both * news;
      walked *= own / both;
    }
    return {squares, logs};
  }
};

AccumulatedErrors errors_of(const DepthProfile& profile, const GrowthCurve& curve) {
  AccumulatedErrors errors;
  double below = profile.start;
  for (const double log_level : curve.fit) {
    errors.level.push_back(std::exp(log_level));
    errors.rise.push_back(errors.level.back() - below);
    below = errors.level.back();
  }
  return errors;
}

/// v' Omega v with Omega the covariance of the residuals, in units of the variance of e.
double quadratic_form(const AccumulatedErrors& errors, double ratio, const std::vector<double>& v) {
  double sum = 0, above = 0;  // above: sum of v_j / V_j of what an error at k goes into
  for (std::size_t k = v.size(); k-- > 0;) {
    above += v[k] / errors.level[k];
    sum += v[k] * v[k] + ratio * errors.rise[k] * errors.rise[k] * above * above;
  }
  return sum;
}

}  // namespace

DepthProfile::DepthProfile(std::span<const double> variance) : start(variance[0]) {
  const auto last = static_cast<double>(variance.size() - 1);
  for (std::size_t k = 1; k < variance.size(); ++k) {
    if (variance[k] <= 0) continue;
    depth.push_back(static_cast<double>(k) / last);
    log_depth.push_back(std::log(depth.back()));
    log_variance.push_back(std::log(variance[k]));
  }
}

bool has_parameter(GrowthModel model) {
  return model == GrowthModel::Saturating || model == GrowthModel::Power || model == GrowthModel::Exponential;
}

bool parameter_is_at_limit(const GrowthCurve& curve, GrowthModel model) {
  const ParameterRange range = parameter_range(model);
  constexpr double kNear = 1e-6;
  return curve.log_parameter < std::log(range.lowest) + kNear ||
         curve.log_parameter > std::log(range.highest) - kNear;
}

GrowthCurve fit_growth(const DepthProfile& profile, GrowthModel model) {
  const double top = std::exp(profile.log_variance.back());
  const double whole =
      model == GrowthModel::Constant ? std::log(top) : std::log(std::max(top - profile.start, 1e-6 * top));
  GrowthCurve best;
  best.minus_two_log_likelihood = std::numeric_limits<double>::infinity();
  for (const double start : parameter_range(model).starts) {
    GrowthCurve curve = maximise(profile, model, whole, std::log(start));
    if (curve.minus_two_log_likelihood < best.minus_two_log_likelihood) best = std::move(curve);
    if (!has_parameter(model)) break;
  }
  return best;
}

double parameter_deviation(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve) {
  const double count = profile.size();
  const AccumulatedErrors errors = errors_of(profile, curve);
  double smallest = std::numeric_limits<double>::infinity(), ratio = 0, variance = 0;
  for (const double candidate : kAccumulations) {
    const auto [squares, logs] = errors.innovations(curve.residuals, candidate);
    const double value = count * std::log(std::max(squares / count, kExact * kExact)) + logs;
    if (value >= smallest) continue;
    smallest = value;
    ratio = candidate;
    variance = squares / (count - 3);  // c, the parameter, the ratio
  }
  // Row of (J'WJ)^-1 J'W that belongs to the parameter; its variance under Omega is the sandwich.
  GrowthCurve at = curve;
  const Derivatives by = evaluate(profile, model, at);
  const NormalEquations sums = linearise(profile, model, at);
  const double determinant = sums.cc * sums.pp - sums.cp * sums.cp;
  std::vector<double> row;
  for (std::size_t k = 0; k < by.by_scale.size(); ++k) {
    row.push_back(curve.weights[k] * (sums.cc * by.by_parameter[k] - sums.cp * by.by_scale[k]) / determinant);
  }
  return std::sqrt(variance * quadratic_form(errors, ratio, row));
}

}  // namespace plumb

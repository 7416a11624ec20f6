#include "stability/growth_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace plumb {
namespace {

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

/// Whitened residuals and, for the linearised problem, their sums of products with the derivatives.
struct NormalEquations {
  double squares = 0, cc = 0, cp = 0, pp = 0, rc = 0, rp = 0;
};

NormalEquations linearise(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve) {
  const double scale = std::exp(curve.log_scale), parameter = std::exp(curve.log_parameter);
  const std::size_t count = profile.depth.size();
  std::vector<double> residual(count), by_scale(count), by_parameter(count);
  for (std::size_t k = 0; k < count; ++k) {
    const Shape shape = shape_at(model, parameter, profile.depth[k], profile.log_depth[k]);
    const double fit = profile.start + scale * shape.value;
    residual[k] = profile.log_variance[k] - std::log(fit);
    by_scale[k] = scale * shape.value / fit;
    by_parameter[k] = scale * shape.slope / fit;
  }
  profile.whiten(residual);
  profile.whiten(by_scale);
  profile.whiten(by_parameter);
  NormalEquations sums;
  for (std::size_t k = 0; k < count; ++k) {
    sums.squares += residual[k] * residual[k];
    sums.cc += by_scale[k] * by_scale[k];
    sums.cp += by_scale[k] * by_parameter[k];
    sums.pp += by_parameter[k] * by_parameter[k];
    sums.rc += residual[k] * by_scale[k];
    sums.rp += residual[k] * by_parameter[k];
  }
  if (!std::isfinite(sums.squares)) sums.squares = std::numeric_limits<double>::infinity();
  return sums;
}

/// The step of Levenberg and Marquardt: steepest descent for a large damping, Gauss-Newton for a small one.
GrowthCurve step_from(const GrowthCurve& curve, const NormalEquations& sums, double damping,
                      bool move_parameter) {
  const double cc = sums.cc * (1 + damping) + 1e-300, pp = sums.pp * (1 + damping) + 1e-300;
  if (!move_parameter) return {curve.log_scale + sums.rc / cc, curve.log_parameter, 0};
  const double determinant = cc * pp - sums.cp * sums.cp;
  return {curve.log_scale + (sums.rc * pp - sums.rp * sums.cp) / determinant,
          curve.log_parameter + (sums.rp * cc - sums.rc * sums.cp) / determinant, 0};
}

}  // namespace

DepthProfile::DepthProfile(std::span<const double> all) : start(all[0]) {
  const auto last = static_cast<double>(all.size() - 1);
  for (std::size_t k = 1; k < all.size(); ++k) {
    if (all[k] <= 0) continue;
    depth.push_back(static_cast<double>(k) / last);
    log_depth.push_back(std::log(depth.back()));
    variance.push_back(all[k]);
    log_variance.push_back(std::log(all[k]));
  }
  set_accumulation(0, log_variance);
}

void DepthProfile::set_accumulation(double ratio, const std::vector<double>& curve) {
  level_.clear();
  gain_.clear();
  inverse_deviation_.clear();
  log_determinant_ = 0;
  double walked = 0, below = start;  // variance of the accumulated error in units of that of e; V_{k-1}
  for (const double log_level : curve) {
    const double level = std::exp(log_level), rise = level - below;
    walked += ratio * rise * rise;
    const double own = level * level, both = walked + own;
    level_.push_back(level);
    gain_.push_back(walked / both);
    inverse_deviation_.push_back(1 / std::sqrt(both));
    log_determinant_ += std::log(both / own);
    walked *= own / both;
    below = level;
  }
}

void DepthProfile::whiten(std::vector<double>& values) const {
  double walked = 0;  // the accumulated error as known from the sublayers before
  for (std::size_t k = 0; k < values.size(); ++k) {
    const double news = level_[k] * values[k] - walked;
    values[k] = news * inverse_deviation_[k];
    walked += gain_[k] * news;
  }
}

bool parameter_is_at_limit(const GrowthCurve& curve, GrowthModel model) {
  const ParameterRange range = parameter_range(model);
  constexpr double kNear = 1e-6;
  return curve.log_parameter < std::log(range.lowest) + kNear ||
         curve.log_parameter > std::log(range.highest) - kNear;
}

bool has_parameter(GrowthModel model) {
  return model == GrowthModel::Saturating || model == GrowthModel::Power || model == GrowthModel::Exponential;
}

GrowthCurve fit_growth_from(const DepthProfile& profile, GrowthModel model, const GrowthCurve& start) {
  const auto [lowest, highest] =
      std::minmax_element(profile.log_variance.begin(), profile.log_variance.end());
  const ParameterRange range = parameter_range(model);
  const double first = std::log(range.lowest), last = std::log(range.highest);
  const auto clamp = [&](GrowthCurve curve) {
    curve.log_scale = std::clamp(curve.log_scale, *lowest - 40, *highest + 40);
    curve.log_parameter = std::clamp(curve.log_parameter, first, last);
    return curve;
  };
  GrowthCurve curve = clamp(start);
  NormalEquations sums = linearise(profile, model, curve);
  double damping = 1e-3;
  for (int iteration = 0; iteration < 60 && damping < 1e8; ++iteration) {
    // A parameter at its limit that would go beyond stays there while c moves on.
    const bool stuck =
        (curve.log_parameter <= first && sums.rp < 0) || (curve.log_parameter >= last && sums.rp > 0);
    const GrowthCurve next = clamp(step_from(curve, sums, damping, has_parameter(model) && !stuck));
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
  curve.squares = sums.squares;
  return curve;
}

GrowthCurve fit_growth(const DepthProfile& profile, GrowthModel model) {
  GrowthCurve best{.squares = std::numeric_limits<double>::infinity()};
  const double whole =
      std::log(std::max(profile.variance.back() - profile.start, 1e-6 * profile.variance.back()));
  for (const double start : parameter_range(model).starts) {
    const GrowthCurve curve = fit_growth_from(profile, model, {whole, std::log(start), 0});
    if (curve.squares < best.squares) best = curve;
    if (!has_parameter(model)) break;
  }
  return best;
}

GrowthCurve fit_constant(const DepthProfile& profile) {
  std::vector<double> values = profile.log_variance, ones(values.size(), 1.0);
  profile.whiten(values);
  profile.whiten(ones);
  double products = 0, norm = 0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    products += values[k] * ones[k];
    norm += ones[k] * ones[k];
  }
  GrowthCurve curve{.log_scale = products / norm};
  for (std::size_t k = 0; k < values.size(); ++k) {
    curve.squares += std::pow(values[k] - curve.log_scale * ones[k], 2);
  }
  return curve;
}

std::vector<double> fitted_curve(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve) {
  std::vector<double> values(profile.depth.size(), curve.log_scale);
  if (model == GrowthModel::Constant) return values;
  const double scale = std::exp(curve.log_scale), parameter = std::exp(curve.log_parameter);
  for (std::size_t k = 0; k < values.size(); ++k) {
    const Shape shape = shape_at(model, parameter, profile.depth[k], profile.log_depth[k]);
    values[k] = std::log(profile.start + scale * shape.value);
  }
  return values;
}

double parameter_deviation(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve) {
  const NormalEquations sums = linearise(profile, model, curve);
  return std::sqrt(sums.cc / (sums.cc * sums.pp - sums.cp * sums.cp));
}

}  // namespace plumb

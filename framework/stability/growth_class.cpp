#include "stability/growth_class.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "stability/growth_fit.h"

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kExact = 1e-10;  // a misfit below this is rounding, and models that reach it fit alike
constexpr double kNoDifference =
    2;  // of AICc: below it the simpler model is taken (Burnham and Anderson, 2002)
/// Ratios of the variance of accumulated errors to that of errors of their own.
constexpr double kAccumulations[] = {0, 1, 10, 100, 1e3, 1e4, 1e6};

struct Model {
  std::string_view name;
  GrowthClass growth_class;
};
// In the order of GrowthModel.
constexpr std::array<Model, kGrowthModels> kModels = {{{"constant", GrowthClass::Bounded},
                                                       {"saturating", GrowthClass::Bounded},
                                                       {"linear", GrowthClass::Linear},
                                                       {"power", GrowthClass::Power},
                                                       {"quadratic", GrowthClass::Quadratic},
                                                       {"exponential", GrowthClass::Exponential}}};

using Curves = std::array<GrowthCurve, kGrowthModels>;

/// -2 log of the likelihood, its variance put to where it is largest.
double minus_two_log_likelihood(const DepthProfile& profile, double squares) {
  const double count = profile.size();
  return count * std::log(std::max(squares / count, kExact * kExact)) + profile.log_determinant();
}

Curves fit_all(const DepthProfile& profile, const Curves* starts) {
  Curves curves;
  curves[0] = fit_constant(profile);
  for (int i = 1; i < kGrowthModels; ++i) {
    const auto model = static_cast<GrowthModel>(i);
    curves[i] = starts ? fit_growth_from(profile, model, (*starts)[i]) : fit_growth(profile, model);
  }
  return curves;
}

std::size_t closest(const Curves& curves) {
  const auto smaller = [](const GrowthCurve& a, const GrowthCurve& b) { return a.squares < b.squares; };
  return static_cast<std::size_t>(std::min_element(curves.begin(), curves.end(), smaller) - curves.begin());
}

/// Leaves the profile with the accumulation under which some model is likeliest.
Curves fit_with_likeliest_accumulation(DepthProfile& profile, double& accumulation) {
  Curves curves = fit_all(profile, nullptr);
  const std::size_t first = closest(curves);
  const std::vector<double> level = fitted_curve(profile, static_cast<GrowthModel>(first), curves[first]);
  Curves best = curves;
  double smallest = std::numeric_limits<double>::infinity();
  for (const double candidate : kAccumulations) {
    profile.set_accumulation(candidate, level);
    curves = fit_all(profile, &curves);
    const double value = minus_two_log_likelihood(profile, curves[closest(curves)].squares);
    if (value < smallest) {
      smallest = value;
      accumulation = candidate;
      best = curves;
    }
  }
  profile.set_accumulation(accumulation, level);
  return best;
}

GrowthFit describe_fit(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve) {
  double squares = 0;
  const std::vector<double> fit = fitted_curve(profile, model, curve);
  for (std::size_t k = 0; k < fit.size(); ++k) squares += std::pow(profile.log_variance[k] - fit[k], 2);
  const double count = profile.size(), q = has_parameter(model) ? 4 : 3;
  const double scale = std::exp(curve.log_scale);
  return {
      .model = model,
      .scale = model == GrowthModel::Constant ? scale - profile.start : scale,
      .parameter = has_parameter(model) ? std::exp(curve.log_parameter) : 0,
      .misfit = std::sqrt(squares / count),
      .aicc = minus_two_log_likelihood(profile, curve.squares) + 2 * q + 2 * q * (q + 1) / (count - q - 1)};
}

/// The 97.5 % quantile of Student's t, as the expansion in 1/degrees (Abramowitz and Stegun 26.7.5): within
/// 0.3 % from 4 degrees on.
double student_quantile(double degrees) {
  constexpr double z = 1.959963984540054;
  constexpr double z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
  return z + (z3 + z) / (4 * degrees) + (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees * degrees) +
         (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * degrees * degrees * degrees);
}

void set_exponent(const DepthProfile& profile, const GrowthCurve& curve, Growth& growth) {
  const GrowthFit& power = growth.fits[static_cast<int>(GrowthModel::Power)];
  // A scale that ran to nothing (the variance never rises above Var_0) or a parameter at its limit: p could
  // be anything.
  if (power.scale < 1e-12 * profile.variance.back() || parameter_is_at_limit(curve, GrowthModel::Power))
    return;
  growth.exponent = power.parameter;
  const double degrees = profile.size() - 3;
  const double noise = std::sqrt(curve.squares / degrees);
  const double deviation =
      noise * parameter_deviation(profile, GrowthModel::Power, curve) * power.parameter;  // from log p to p
  const double half = std::isfinite(deviation) ? student_quantile(degrees) * deviation : 0;
  growth.exponent_low = std::max(power.parameter - half, 0.0);
  growth.exponent_high = power.parameter + half;
}

}  // namespace

std::string_view growth_class_name(GrowthClass growth_class) {
  switch (growth_class) {
    case GrowthClass::Unknown:
      return "unknown";
    case GrowthClass::NotFinite:
      return "not finite";
    case GrowthClass::Bounded:
      return "bounded";
    case GrowthClass::Linear:
      return "linear";
    case GrowthClass::Power:
      return "power";
    case GrowthClass::Quadratic:
      return "quadratic";
    case GrowthClass::Exponential:
      return "exponential";
  }
  return "";
}

std::string_view growth_model_name(GrowthModel model) { return kModels[static_cast<int>(model)].name; }

const GrowthFit& Growth::best() const {
  const auto smaller = [](const GrowthFit& a, const GrowthFit& b) { return a.aicc < b.aicc; };
  const GrowthFit& closest = *std::min_element(fits.begin(), fits.end(), smaller);
  const GrowthFit* chosen = &closest;
  for (const GrowthFit& fit : fits) {
    const bool as_good = fit.aicc < closest.aicc + kNoDifference;
    const bool simpler = has_parameter(chosen->model) && !has_parameter(fit.model);
    const bool better = has_parameter(chosen->model) == has_parameter(fit.model) && fit.aicc < chosen->aicc;
    if (as_good && (simpler || better)) chosen = &fit;
  }
  return *chosen;
}

Growth classify_growth(std::span<const double> variance) {
  Growth growth;
  growth.exponent = growth.exponent_low = growth.exponent_high = growth.total = kNaN;
  if (!std::all_of(variance.begin(), variance.end(), [](double value) { return std::isfinite(value); })) {
    growth.growth_class = GrowthClass::NotFinite;
    return growth;
  }
  if (variance.empty() || variance[0] < 0) return growth;
  DepthProfile profile(variance);
  growth.values = profile.size();
  if (profile.size() < kShortestProfile) return growth;
  growth.total = variance.back() / variance[0];
  const Curves curves = fit_with_likeliest_accumulation(profile, growth.accumulation);
  for (int i = 0; i < kGrowthModels; ++i) {
    growth.fits[i] = describe_fit(profile, static_cast<GrowthModel>(i), curves[i]);
  }
  growth.growth_class = kModels[static_cast<int>(growth.best().model)].growth_class;
  set_exponent(profile, curves[static_cast<int>(GrowthModel::Power)], growth);
  return growth;
}

std::string growth_text(const Growth& growth) {
  const std::string_view name = growth_class_name(growth.growth_class);
  if (growth.growth_class == GrowthClass::Unknown) return "unknown: too few sublayers";
  if (growth.growth_class == GrowthClass::NotFinite) return "not finite";
  const std::string times = growth.total < 2
                                ? fmt::format("{:+.2g} % over the depth", 100 * (growth.total - 1))
                                : fmt::format("{:.3g}-fold over the depth", growth.total);
  if (growth.growth_class == GrowthClass::Bounded || std::isnan(growth.exponent)) {
    return fmt::format("{}, {}", name, times);
  }
  if (growth.growth_class == GrowthClass::Exponential) {
    return fmt::format("exponential, e^{:.2g} over the depth, {}", growth.best().parameter, times);
  }
  return fmt::format("{}, p = {:.2f} ({:.2f} to {:.2f}), {}", name, growth.exponent, growth.exponent_low,
                     growth.exponent_high, times);
}

std::string growth_basis(const Growth& growth) {
  if (growth.growth_class == GrowthClass::Unknown) {
    return fmt::format("{} usable values, {} are needed", growth.values, kShortestProfile);
  }
  if (growth.growth_class == GrowthClass::NotFinite) return "the profile holds values that are not finite";
  const GrowthFit& chosen = growth.best();
  std::string text =
      fmt::format("AICc over {} values, errors {}: {} chosen (typical misfit {:.1f} %)", growth.values,
                  growth.accumulation > 0 ? "adding up over the depth" : "independent",
                  growth_model_name(chosen.model), 100 * std::expm1(chosen.misfit));
  std::array<GrowthFit, kGrowthModels> ranked = growth.fits;
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.aicc < b.aicc; });
  for (const GrowthFit& fit : ranked) {
    if (fit.model == chosen.model) continue;
    text += fmt::format(", {} {:+.1f}", growth_model_name(fit.model), fit.aicc - chosen.aicc);
  }
  return text;
}

}  // namespace plumb

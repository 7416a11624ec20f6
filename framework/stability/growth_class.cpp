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
constexpr double kNoDifference =
    2;  // of AICc: below it the simpler model is taken (Burnham and Anderson, 2002)

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

/// Lag-1 autocorrelation of a fit's residuals, at least 0; what stands out counts little.
double autocorrelation(const GrowthCurve& curve) {
  double products = 0, squares = 0, before = 0;
  for (std::size_t k = 0; k < curve.residuals.size(); ++k) {
    const double residual = std::sqrt(curve.weights[k]) * curve.residuals[k];
    squares += residual * residual;
    products += residual * before;
    before = residual;
  }
  // Residuals that are rounding are alike for no reason that matters.
  return squares < 1e-18 ? 0 : std::clamp(products / squares, 0.0, 0.95);
}

GrowthFit describe_fit(const DepthProfile& profile, GrowthModel model, const GrowthCurve& curve,
                       double independent) {
  const double q = has_parameter(model) ? 3 : 2, scale = std::exp(curve.log_scale);
  return {.model = model,
          .scale = model == GrowthModel::Constant ? scale - profile.start : scale,
          .parameter = has_parameter(model) ? std::exp(curve.log_parameter) : 0,
          .misfit = curve.error,
          .aicc = curve.minus_two_log_likelihood * independent / profile.size() + 2 * q +
                  2 * q * (q + 1) / (independent - q - 1)};
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
  // A scale that ran to nothing (the variance never rises above Var_0) or a parameter at its limit: p could
  // be anything.
  const double scale = std::exp(curve.log_scale), top = std::exp(profile.log_variance.back());
  if (scale < 1e-12 * top || parameter_is_at_limit(curve, GrowthModel::Power)) return;
  growth.exponent = std::exp(curve.log_parameter);
  const double deviation =
      parameter_deviation(profile, GrowthModel::Power, curve) * growth.exponent;  // from log p to p
  const double half = std::isfinite(deviation) ? student_quantile(profile.size() - 3) * deviation : 0;
  growth.exponent_low = std::max(growth.exponent - half, 0.0);
  growth.exponent_high = growth.exponent + half;
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
  const DepthProfile profile(variance);
  growth.values = profile.size();
  if (profile.size() < kShortestProfile) return growth;
  growth.total = variance.back() / variance[0];
  Curves curves;
  for (int i = 0; i < kGrowthModels; ++i) curves[i] = fit_growth(profile, static_cast<GrowthModel>(i));
  const auto likelier = [](const GrowthCurve& a, const GrowthCurve& b) {
    return a.minus_two_log_likelihood < b.minus_two_log_likelihood;
  };
  const double alike = autocorrelation(*std::min_element(curves.begin(), curves.end(), likelier));
  growth.independent_values = std::max(profile.size() * (1 - alike) / (1 + alike), 6.0);
  for (int i = 0; i < kGrowthModels; ++i) {
    growth.fits[i] = describe_fit(profile, static_cast<GrowthModel>(i), curves[i], growth.independent_values);
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
  std::string text = fmt::format(
      "AICc over {} values, {:.0f} of them independent: {} chosen (typical misfit {:.1f} %)", growth.values,
      growth.independent_values, growth_model_name(chosen.model), 100 * std::expm1(chosen.misfit));
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

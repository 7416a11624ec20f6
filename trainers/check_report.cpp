#include "check_report.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

/// AICc differences beyond this leave the other models "essentially no support" (Burnham and Anderson, Model
/// Selection and Multimodel Inference, section 2.6).
constexpr double kClearlyBetter = 10;

/// Var_K / Var_1 of a profile that is exponential beyond doubt. Not over Var_0: embeddings may be tiny.
double exponential_growth(const InitialPass& pass, const Growth& growth) {
  if (growth.growth_class != GrowthClass::Exponential) return CheckFacts::kUnknown;
  for (const GrowthFit& fit : growth.fits) {
    if (fit.model != GrowthModel::Exponential && fit.aicc < growth.best().aicc + kClearlyBetter) {
      return CheckFacts::kUnknown;
    }
  }
  return pass.variance.back() / pass.variance[1];
}

/// 10 eps / what N_out is predicted to meet, the largest over sublayers.
double epsilon_share(const CheckReport& report) {
  if (!report.prediction.available()) return CheckFacts::kUnknown;
  double share = CheckFacts::kUnknown;
  for (std::size_t k = 0; k < report.model.sublayers.size(); ++k) {
    const NormConfig& norm = report.model.sublayers[k].config.norm.out;
    const NormKind kind = norm_kind_of(norm, report.model.config);
    if (kind != NormKind::LayerNorm && kind != NormKind::RmsNorm) continue;
    const double here = 10 * norm.epsilon / report.prediction.before_out[k];
    if (!(here <= share)) share = here;
  }
  return share;
}

}  // namespace

MeanAndDeviation exponent_of(const CheckReport& report) {
  MeanAndDeviation result;
  const auto count = static_cast<double>(report.passes.size());
  for (const InitialPass& pass : report.passes) result.mean += doubling_exponent(pass.variance) / count;
  for (const InitialPass& pass : report.passes) {
    result.deviation += std::pow(doubling_exponent(pass.variance) - result.mean, 2);
  }
  result.deviation = count > 1 ? std::sqrt(result.deviation / (count - 1)) : CheckFacts::kUnknown;
  return result;
}

double gradient_ratio(const InitialPass& pass) {
  return pass.gradient_norm.front() / pass.gradient_norm.back();
}

CheckFacts facts_of(const CheckReport& report) {
  CheckFacts facts;
  facts.not_finite = 0;
  facts.violated_bounds = static_cast<double>(report.violations.size());
  for (const InitialPass& pass : report.passes) {
    facts.not_finite += pass.not_finite();
    facts.violated_bounds += static_cast<double>(pass.ellipsoid_failures);
  }
  if (facts.not_finite > 0) return facts;  // the others would only repeat it
  facts.exponential_growth = exponential_growth(report.mean, report.growth);
  facts.exponent = exponent_of(report).mean;
  const std::vector<double>& gradient = report.mean.gradient_norm;
  facts.gradient_growth = gradient[1] / gradient.back();
  facts.gradient_decay = gradient.back() / gradient[1];
  facts.embedding_gradient = gradient[0] / gradient[1];
  facts.range_share = report.own.share;
  facts.rounding = report.own.rounding;
  facts.epsilon_share = epsilon_share(report);
  return facts;
}

}  // namespace plumb

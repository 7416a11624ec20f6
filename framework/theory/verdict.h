// The verdict of `plumb check`: rules over a few numbers, as one table of data.
#pragma once

#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

enum class Verdict { Regular, Borderline, Pathological };
std::string_view name_of(Verdict verdict);

/// What rules read. NaN: not known or not applicable, which no rule holds against a model; what is not finite
/// in a measurement is counted in `not_finite`.
struct CheckFacts {
  static constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  double not_finite = 0;                 ///< values of the pass that are NaN or infinite
  double violated_bounds = 0;            ///< levels above their bound, plus norms off their ellipsoid
  double exponential_growth = kUnknown;  ///< Var_K / Var_1 where the profile is exponential
  double exponent = kUnknown;            ///< p = log2(Var_K / Var_{K/2})
  double gradient_growth = kUnknown;     ///< |dL/dx_1| / |dL/dx_K|
  double gradient_decay = kUnknown;      ///< |dL/dx_K| / |dL/dx_1|
  double embedding_gradient = kUnknown;  ///< |dL/dx_0| / |dL/dx_1|
  double range_share = kUnknown;         ///< largest |x| / the largest number of the compute dtype
  double rounding = kUnknown;            ///< unit roundoff of the dtype times x / what b z adds to it, RMS
  double epsilon_share = kUnknown;       ///< 10 eps / the variance that N_out meets, the smallest of them
};

/// A rule fires where its number reaches a threshold.
struct VerdictRule {
  std::string_view name;
  std::string_view quantity;  ///< what the number is, in words
  double (*value)(const CheckFacts& facts);
  double borderline, pathological;  ///< thresholds; infinite = never
  std::string_view meaning;         ///< what it means for a run
  std::string_view citation;        ///< of the quantity; thresholds that a source gives are named there
};
const std::vector<VerdictRule>& verdict_rules();

struct RuleOutcome {
  const VerdictRule* rule = nullptr;
  double value = 0;
  Verdict verdict = Verdict::Regular;
};
struct Judgement {
  Verdict verdict = Verdict::Regular;   ///< the worst
  std::vector<RuleOutcome> outcomes{};  ///< of every rule whose number is known, in the order of the table
  /// Why: the rules of the verdict; empty where it is regular.
  std::vector<const RuleOutcome*> reasons() const;
};
Judgement judge(const CheckFacts& facts);

/// "growth exponent p = log2(Var_K / Var_K/2) is 6.1, from 3 on pathological: ...".
std::string text_of(const RuleOutcome& outcome);

}  // namespace plumb

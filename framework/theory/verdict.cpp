#include "theory/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace plumb {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Regular:
      return "regular";
    case Verdict::Borderline:
      return "borderline";
    case Verdict::Pathological:
      return "pathological";
  }
  return "";
}

// Thresholds are ours but where the citation names them; docs/design/theory.md says how they were chosen.
const std::vector<VerdictRule>& verdict_rules() {
  static const std::vector<VerdictRule> rows = {
      {"not-finite", "values at init that are NaN or infinite",
       [](const CheckFacts& facts) { return facts.not_finite; }, 1, 1, "the first pass already overflows",
       "definition"},
      {"violated-bound", "layers above a proved bound",
       [](const CheckFacts& facts) { return facts.violated_bounds; }, 1, 1,
       "the engine does not compute what the equations say", "docs/design/theory.md, after arXiv 2510.09904"},
      {"exponential", "Var_K / Var_1 of an exponential profile",
       [](const CheckFacts& facts) { return facts.exponential_growth; }, 10, 1000,
       "the stream grows exponentially with depth",
       "arXiv 2510.09904, eq. (10) in its figure; arXiv 2502.02732"},
      {"exponent", "growth exponent p = log2(Var_K / Var_K/2)",
       [](const CheckFacts& facts) { return facts.exponent; }, 1.5, 3,
       "1 is independent branches, 2 aligned ones, the worst case under N_out; above, branches grow with "
       "depth",
       "docs/check.md; arXiv 2510.09904"},
      {"gradient-growth", "gradient norm above the first sublayer / at the top",
       [](const CheckFacts& facts) { return facts.gradient_growth; }, 100, 1e4,
       "gradients grow on the way down", "arXiv 2002.04745, 2502.02732, 2510.09904"},
      {"gradient-decay", "gradient norm at the top / above the first sublayer",
       [](const CheckFacts& facts) { return facts.gradient_decay; }, 100, 1e4,
       "gradients vanish on the way down", "arXiv 2002.04745, 2502.02732"},
      {"embedding-gradient", "gradient norm of the embeddings / above the first sublayer",
       [](const CheckFacts& facts) { return facts.embedding_gradient; }, 10, kNever,
       "embeddings are small beside the first branch, whose norm amplifies their gradient; larger ones or a "
       "norm on them are the remedies",
       "arXiv 2312.16903"},
      {"range", "largest |x| / largest number of the compute dtype",
       [](const CheckFacts& facts) { return facts.range_share; }, 1.0 / 16, 1,
       "activations are close to overflow before training has begun; trained Pre-LN streams passed 65504 "
       "within "
       "0.5B tokens",
       "arXiv 2502.02732"},
      {"rounding", "half a unit in the last place of x / RMS of what a branch adds",
       [](const CheckFacts& facts) { return facts.rounding; }, 1, kNever,
       "branches are lost in the rounding of the stream", "definition of the dtype"},
      {"epsilon", "10 eps / predicted variance that N_out meets",
       [](const CheckFacts& facts) { return facts.epsilon_share; }, 1, kNever,
       "the norm's eps, not the branch, sets the branch's size", "docs/design/theory.md"},
  };
  return rows;
}

std::vector<const RuleOutcome*> Judgement::reasons() const {
  std::vector<const RuleOutcome*> list;
  if (verdict == Verdict::Regular) return list;
  for (const RuleOutcome& outcome : outcomes) {
    if (outcome.verdict == verdict) list.push_back(&outcome);
  }
  return list;
}

Judgement judge(const CheckFacts& facts) {
  Judgement judgement;
  for (const VerdictRule& rule : verdict_rules()) {
    const double value = rule.value(facts);
    if (std::isnan(value)) continue;
    RuleOutcome outcome{&rule, value, Verdict::Regular};
    if (value >= rule.borderline) outcome.verdict = Verdict::Borderline;
    if (value >= rule.pathological) outcome.verdict = Verdict::Pathological;
    judgement.verdict = std::max(judgement.verdict, outcome.verdict);
    judgement.outcomes.push_back(outcome);
  }
  return judgement;
}

std::string text_of(const RuleOutcome& outcome) {
  const VerdictRule& rule = *outcome.rule;
  const bool worst = outcome.verdict == Verdict::Pathological;
  return fmt::format("{} is {:.4g}; {} from {:.4g} on: {} ({})", rule.quantity, outcome.value,
                     name_of(worst ? Verdict::Pathological : Verdict::Borderline),
                     worst ? rule.pathological : rule.borderline, rule.meaning, rule.citation);
}

}  // namespace plumb

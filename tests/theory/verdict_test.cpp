// Rules fire at their thresholds, and only on numbers that are known.
#include "theory/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plumb::test {
namespace {

TEST(Verdict, NothingKnownIsRegular) {
  const Judgement judgement = judge({});
  EXPECT_EQ(judgement.verdict, Verdict::Regular);
  EXPECT_TRUE(judgement.reasons().empty());
  EXPECT_EQ(judgement.outcomes.size(), 2U) << "counts are always known";
}

/// What the rules read, in their order.
std::vector<double CheckFacts::*> members() {
  return {&CheckFacts::not_finite,         &CheckFacts::violated_bounds, &CheckFacts::exponential_growth,
          &CheckFacts::exponent,           &CheckFacts::gradient_growth, &CheckFacts::gradient_decay,
          &CheckFacts::embedding_gradient, &CheckFacts::range_share,     &CheckFacts::rounding,
          &CheckFacts::epsilon_share};
}

TEST(Verdict, EveryRuleFiresAtItsThresholds) {
  ASSERT_EQ(members().size(), verdict_rules().size());
  for (std::size_t i = 0; i < members().size(); ++i) {
    const VerdictRule& rule = verdict_rules()[i];
    const auto at = [&](double value) {
      CheckFacts facts;
      facts.*members()[i] = value;
      return judge(facts);
    };
    EXPECT_EQ(at(0.99 * rule.borderline).verdict, Verdict::Regular) << rule.name;
    if (rule.borderline < rule.pathological) {
      EXPECT_EQ(at(rule.borderline).verdict, Verdict::Borderline) << rule.name;
    }
    if (rule.pathological > 1e300) continue;
    const Judgement worst = at(rule.pathological);
    EXPECT_EQ(worst.verdict, Verdict::Pathological) << rule.name;
    ASSERT_EQ(worst.reasons().size(), 1U);
    EXPECT_EQ(worst.reasons()[0]->rule->name, rule.name);
    EXPECT_THAT(text_of(*worst.reasons()[0]), ::testing::HasSubstr(std::string(rule.citation)));
  }
}

TEST(Verdict, TheWorstRuleDecides) {
  CheckFacts facts;
  facts.exponent = 2;            // borderline
  facts.gradient_growth = 1e10;  // pathological
  facts.gradient_decay = 1e-10;  // regular
  const Judgement judgement = judge(facts);
  EXPECT_EQ(judgement.verdict, Verdict::Pathological);
  ASSERT_EQ(judgement.reasons().size(), 1U);
  EXPECT_EQ(judgement.reasons()[0]->rule->name, "gradient-growth");
}

TEST(Verdict, EveryRuleCitesASource) {
  for (const VerdictRule& rule : verdict_rules()) {
    EXPECT_FALSE(rule.citation.empty()) << rule.name;
    EXPECT_LE(rule.borderline, rule.pathological) << rule.name;
  }
}

}  // namespace
}  // namespace plumb::test

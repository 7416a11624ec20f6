// The bound of the stream: closed forms with every knob, every placement measured, violations, the envelope.
#include "theory/stream_bound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "theory/norm_size.h"
#include "theory/probed_model.h"

namespace plumb::test {
namespace {
using ::testing::HasSubstr;

constexpr CoefficientTime kNow{.step = 0, .training = false};

TEST(NormSize, OfEveryKind) {
  const std::vector<double> gain = {1, -3, 2, 0}, bias = {3, 0, 0, 4};
  EXPECT_NEAR(norm_size(NormKind::LayerNorm, 4, gain, bias), 2 * 3 + 5, 1e-12);
  EXPECT_NEAR(norm_size(NormKind::RmsNorm, 4, gain, {}), 6, 1e-12);
  EXPECT_NEAR(norm_size(NormKind::RmsNorm, 4, {}, {}), 2, 1e-12);
  EXPECT_NEAR(norm_size(NormKind::L2, 4, gain, bias), 3 + 5, 1e-12);
  EXPECT_NEAR(norm_size(NormKind::DyT, 4, gain, bias), std::sqrt(16.0 + 9 + 4 + 16), 1e-12);
  EXPECT_NEAR(norm_size(NormKind::Derf, 4, {}, bias), std::sqrt(16.0 + 1 + 1 + 25), 1e-12);
}

StreamBound bound_of(ProbedModel& model, double start, const CoefficientTime& time = kNow) {
  return stream_bound(model.resolved(), bound_terms(model.resolved(), model.parameters(), time, true), start,
                      time.training, 0);
}

// docs/design/theory.md, plain Peri: |x_k| <= |x_0| + sum_j b_j (|beta_j| + sqrt(d) max|gamma_j|).
TEST(StreamBoundTest, OfPeriWithASchedule) {
  ProbedModel model(
      placed_model("peri", small_model({"model.residual.b.value=0.5", "model.residual.b.depth=1/sqrt(l)"})));
  double expected = 2;
  for (std::int64_t k = 0; k < 6; ++k) {
    const std::string name = model.resolved().sublayers[static_cast<std::size_t>(k)].name + ".norm_out.";
    model.value(name + "gain")[3] = -2.0 - static_cast<double>(k);
    model.value(name + "bias")[1] = 0.75;
  }
  const StreamBound bound = bound_of(model, 2);
  EXPECT_EQ(bound.bound[0], 2);
  for (std::int64_t k = 0; k < 6; ++k) {
    expected += 0.5 / std::sqrt(static_cast<double>(k + 1)) * (4 * (2.0 + static_cast<double>(k)) + 0.75);
    EXPECT_NEAR(bound.bound[static_cast<std::size_t>(k + 1)], expected, 1e-12);
    EXPECT_EQ(bound.source[static_cast<std::size_t>(k + 1)], BoundSource::OutNorm);
  }
}

// a, b, e and p, stochastic depth and dropout: by hand for the two sublayers of one block.
TEST(StreamBoundTest, WithEveryKnob) {
  ProbedModel model(
      placed_model("peri", small_model({"model.blocks=1", "model.residual.a.value=0.9",
                                        "model.residual.b.value=0.5", "model.residual.b.keep_probability=0.8",
                                        "model.residual.e.value=0.25", "model.residual.p.value=1.5",
                                        "model.residual.p.trainable=vector", "model.dropout.branch=0.1"})));
  model.value("blocks.0.ffn.p")[5] = -2;
  const double r = 4, start = 3;
  const double first = 1.5 * (0.9 * start + 0.5 / 0.8 * r / 0.9 + 0.25 * start);
  const double second = 2 * (0.9 * first + 0.5 / 0.8 * r / 0.9 + 0.25 * start);
  const StreamBound training = bound_of(model, start, {.step = 0, .training = true});
  EXPECT_NEAR(training.bound[1], first, 1e-12);
  EXPECT_NEAR(training.bound[2], second, 1e-12);
  const StreamBound quiet = bound_of(model, start);
  EXPECT_NEAR(quiet.bound[1], 1.5 * (0.9 * start + 0.5 * r + 0.25 * start), 1e-12);
}

TEST(StreamBoundTest, TiedSkipAndRampOverTime) {
  ProbedModel tied(placed_model(
      "peri", small_model({"model.residual.a.tie_to_branch=true", "model.residual.b.value=0.3"})));
  EXPECT_NEAR(bound_of(tied, 10).bound[1], 0.7 * 10 + 0.3 * 4, 1e-12);
  ProbedModel ramped(
      placed_model("peri", small_model({"model.residual.b.time=linear", "model.residual.b.ramp_steps=10"})));
  EXPECT_NEAR(bound_of(ramped, 10, {.step = 5, .training = true}).bound[1], 10 + 0.5 * 4, 1e-12);
}

TEST(StreamBoundTest, OfAPostNormForgetsTheStart) {
  ProbedModel model(placed_model("post", small_model({"model.residual.p.value=3"})));
  const StreamBound bound = bound_of(model, 1e9);
  EXPECT_NEAR(bound.bound[1], 3 * 4, 1e-12);
  EXPECT_NEAR(bound.bound[6], 3 * 4, 1e-12);
  EXPECT_EQ(bound.source[6], BoundSource::PostNorm);
}

TEST(StreamBoundTest, RoundingAllowanceMultiplies) {
  ProbedModel model(placed_model("peri", small_model()));
  const auto terms = bound_terms(model.resolved(), model.parameters(), kNow, false);
  const StreamBound bound = stream_bound(model.resolved(), terms, 2, false, 0.5);
  EXPECT_NEAR(bound.bound[1], 1.5 * 6, 1e-12);
  EXPECT_NEAR(bound.bound[2], 1.5 * (1.5 * 6 + 4), 1e-12);
  EXPECT_EQ(rounding_allowance(DType::BFloat16), 1.0 / 128);
}

TEST(StreamBoundTest, SaysWhyThereIsNone) {
  ProbedModel mixed(placed_model("value-residual", small_model()));
  const StreamBound bound = bound_of(mixed, 1);
  EXPECT_FALSE(std::isnan(bound.bound[2]));
  EXPECT_TRUE(std::isnan(bound.bound[3]));
  EXPECT_THAT(bound.reason[6], HasSubstr("blocks.1.attention: the values of the first attention"));
  EXPECT_EQ(bound.source[6], BoundSource::None);
  ProbedModel streams(placed_model("hyper-connections", small_model()));
  EXPECT_THAT(bound_of(streams, 1).reason[1], HasSubstr("model.streams.kind = 'hyper'"));
  ProbedModel pre(placed_model("pre", small_model()));
  const auto cheap = bound_terms(pre.resolved(), pre.parameters(), kNow, false);
  EXPECT_THAT(stream_bound(pre.resolved(), cheap, 1, false, 0).reason[1], HasSubstr("not asked for"));
}

class EveryPlacement : public ::testing::TestWithParam<std::string> {};

// Whatever the parameters: measured rows stay within the bound wherever one is given, and one is given unless
// there is a reason.
TEST_P(EveryPlacement, StaysWithinItsBound) {
  for (const double size : {0.0, 0.3, 2.0}) {
    ProbedModel model(placed_model(GetParam(), small_model()), 2, 7, /*training=*/true);
    model.shake(size);
    model.forward();
    std::vector<double> measured;
    for (std::int64_t k = 0; k <= model.sublayers(); ++k)
      measured.push_back(model.largest_row(model.stream(k)));
    const StreamBound bound = bound_of(model, measured[0], {.step = 0, .training = true});
    for (std::size_t k = 0; k < measured.size(); ++k) {
      if (std::isnan(bound.bound[k])) {
        EXPECT_NE(bound.reason[k], "") << k;
        continue;
      }
      EXPECT_EQ(bound.reason[k], "") << k;
      EXPECT_LE(measured[k], bound.bound[k] * (1 + 1e-12)) << "level " << k << " at " << size;
    }
    const auto terms = bound_terms(model.resolved(), model.parameters(), {.step = 0, .training = true}, true);
    const StreamBound with_rounding = stream_bound(model.resolved(), terms, measured[0], true, 1e-12);
    EXPECT_TRUE(violations(model.resolved(), with_rounding.bound, measured, 1).empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, EveryPlacement, ::testing::ValuesIn(placement_names()), [](const auto& test) {
  std::string name = test.param;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
});

// A row that is 1.01 times its bound is an event with layer, step and both sides.
TEST(Violations, NameLayerStepAndBothSides) {
  ProbedModel model(placed_model("peri", small_model()));
  const StreamBound bound = bound_of(model, 2);
  std::vector<double> measured = bound.bound;
  EXPECT_TRUE(violations(model.resolved(), bound.bound, measured, 120).empty()) << "equality is none";
  measured[3] = 1.01 * bound.bound[3];
  const auto found = violations(model.resolved(), bound.bound, measured, 120);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].level, 3);
  EXPECT_EQ(found[0].sublayer, "blocks.1.attention");
  EXPECT_EQ(message_of(found[0]), "step 120: |x_3| = 14.14 after blocks.1.attention exceeds its bound 14");
  measured[3] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(violations(model.resolved(), bound.bound, measured, 120).empty()) << "a NaN is another event";
}

// 1 + |x_k| <= (1 + |x_0|) prod (1 + b K), K the bound of the branch; never below the bound itself.
TEST(ExponentialEnvelope, IsAProduct) {
  ProbedModel model(placed_model("peri", small_model({"model.residual.b.value=0.5"})));
  const auto terms = bound_terms(model.resolved(), model.parameters(), kNow, true);
  const std::vector<double> envelope = exponential_envelope(model.resolved(), terms, 2, false);
  const StreamBound bound = bound_of(model, 2);
  for (std::size_t k = 0; k < envelope.size(); ++k) {
    EXPECT_NEAR(envelope[k], 3 * std::pow(1 + 0.5 * 4, static_cast<double>(k)) - 1, 1e-9 * envelope[k]);
    EXPECT_GE(envelope[k], bound.bound[k] * (1 - 1e-12));
  }
}

TEST(ExponentialEnvelope, LiesAboveMeasuredRowsWithoutAnyNorm) {
  ProbedModel model(placed_model("none", small_model()));
  model.shake(0.3);
  model.forward();
  const double start = model.largest_row(model.stream(0));
  const auto terms = bound_terms(model.resolved(), model.parameters(), kNow, true);
  const std::vector<double> envelope = exponential_envelope(model.resolved(), terms, start, false);
  for (std::int64_t k = 0; k <= model.sublayers(); ++k) {
    EXPECT_LE(model.largest_row(model.stream(k)), envelope[static_cast<std::size_t>(k)] * (1 + 1e-12));
  }
  ProbedModel post(placed_model("post", small_model()));
  EXPECT_TRUE(std::isnan(exponential_envelope(
      post.resolved(), bound_terms(post.resolved(), post.parameters(), kNow, true), 1, false)[1]));
}

}  // namespace
}  // namespace plumb::test

// Bounds of branches hold for measured rows, and are as tight as the operator norms that they are made of.
#include "theory/branch_bound.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "theory/probed_model.h"
#include "theory/stream_bound.h"

namespace plumb::test {
namespace {

struct BranchCase {
  std::string name;
  std::vector<std::string> settings;
};

std::vector<BranchCase> branch_cases() {
  std::vector<BranchCase> cases;
  for (const char* activation : {"gelu", "gelu_tanh", "relu", "relu_squared", "silu", "swiglu", "geglu"}) {
    cases.push_back({activation, {std::string("model.activation=") + activation}});
  }
  cases.push_back({"linear", {}});
  cases.push_back({"no_biases", {"model.biases=false"}});
  cases.push_back(
      {"inner_norms", {"model.norm.pre_projection.kind=standard", "model.norm.ffn_inner.kind=standard"}});
  cases.push_back({"value_norm", {"model.norm.v.kind=rmsnorm"}});
  cases.push_back({"value_norm_full", {"model.norm.v.kind=layernorm", "model.v_norm_extent=full"}});
  cases.push_back({"head_gains", {"model.head_gains=true"}});
  cases.push_back({"gains",
                   {"model.gain.value.value=1.5", "model.gain.value.trainable=vector",
                    "model.gain.ffn.value=0.7", "model.gain.ffn.trainable=vector"}});
  cases.push_back({"branch_biases", {"model.branch_biases=true"}});
  cases.push_back({"not_causal", {"model.causal=false"}});
  cases.push_back({"rmsnorm", {"model.norm_kind=rmsnorm"}});
  cases.push_back({"dyt", {"model.norm_kind=dyt"}});
  cases.push_back({"scaled_input", {"model.residual.c.value=0.3", "model.residual.c.trainable=vector"}});
  return cases;
}

class Branches : public ::testing::TestWithParam<BranchCase> {};

// Largest measured row of z against the bound at what enters the branch, for small and large parameters.
TEST_P(Branches, StayWithinTheirBound) {
  std::vector<std::string> settings = small_model(GetParam().settings);
  if (GetParam().name == "linear") {
    settings = {"model.block=['linear','linear']", "model.blocks=3", "model.width=16",
                "model.sequence_length=8"};
  }
  const ModelConfig config = placed_model("pre", settings);
  for (const double size : {0.1, 0.5, 2.0}) {
    ProbedModel model(config);
    model.shake(size);
    model.forward();
    const HostParameters parameters = model.parameters();
    const std::vector<SublayerTerms> terms =
        bound_terms(model.resolved(), parameters, {.step = 0, .training = false}, true);
    for (std::size_t k = 0; k < terms.size(); ++k) {
      ASSERT_TRUE(terms[k].branch.proved) << terms[k].branch.reason;
      const double bound = terms[k].branch.at(terms[k].sizes.c * *terms[k].in);
      const double measured = model.largest_row(model.branch(static_cast<std::int64_t>(k)));
      EXPECT_LE(measured, bound * (1 + 1e-12)) << k << " at " << size;
      EXPECT_GT(measured, 1e-4 * bound) << k << " at " << size;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Branches, ::testing::ValuesIn(branch_cases()),
                         [](const auto& test) { return test.param.name; });

/// One attention sublayer of width 4 and 2 heads with W_V = diag(v), W_O = diag(o).
std::unique_ptr<ProbedModel> diagonal_attention(const std::vector<double>& v, const std::vector<double>& o,
                                                std::vector<std::string> more = {}) {
  std::vector<std::string> settings = {"model.blocks=1", "model.width=4", "model.heads=2",
                                       "model.sequence_length=3", "model.block=['attention']"};
  settings.insert(settings.end(), more.begin(), more.end());
  auto made = std::make_unique<ProbedModel>(placed_model("pre", settings), 1);
  ProbedModel& model = *made;
  double* qkv = model.value("blocks.0.attention.qkv.weight");
  double* projection = model.value("blocks.0.attention.projection.weight");
  for (std::size_t i = 0; i < 4; ++i) {
    for (std::size_t j = 0; j < 4; ++j) {
      qkv[(8 + i) * 4 + j] = i == j ? v[i] : 0;
      projection[i * 4 + j] = i == j ? o[i] : 0;
    }
  }
  return made;
}

BranchBound bound_of(ProbedModel& model, bool training) {
  return branch_bound(model.resolved().sublayers[0], model.resolved().config, model.parameters(),
                      {.step = 0, .training = training});
}

/// (sum of 32nd powers)^(1/32): what operator_norm_bound makes of a diagonal.
double schatten(std::vector<double> singular) {
  double sum = 0;
  for (double s : singular) sum += std::pow(s, 32);
  return std::pow(sum, 1.0 / 32);
}

// Products, not factors: the heads' norms are those of diag(o v).
TEST(AttentionBound, IsASumOverHeadsOfProducts) {
  const auto made = diagonal_attention({10, 0.1, 3, 2}, {0.1, 10, 1, 1});
  ProbedModel& model = *made;
  double* bias = model.value("blocks.0.attention.qkv.bias");
  double* out_bias = model.value("blocks.0.attention.projection.bias");
  for (std::size_t i = 0; i < 4; ++i) {
    bias[8 + i] = 1;
    out_bias[i] = -1;
  }
  const BranchBound bound = bound_of(model, false);
  EXPECT_NEAR(bound.linear, schatten({1, 1}) + schatten({3, 2}), 1e-9);
  // W_O b_V + b_O = (0.1, 10, 1, 1) - 1
  EXPECT_NEAR(bound.constant, std::sqrt(0.81 + 81), 1e-9);
}

// docs/design/theory.md: sum_h (||W_O^h W_V^h|| R + |W_O^h b_V^h|) / (1 - q) + |b_O|, and only while
// training.
TEST(AttentionBound, WithDropout) {
  const auto made = diagonal_attention({1, 1, 1, 1}, {1, 2, 1, 1}, {"model.dropout.attention=0.2"});
  ProbedModel& model = *made;
  double* bias = model.value("blocks.0.attention.qkv.bias");
  double* out_bias = model.value("blocks.0.attention.projection.bias");
  for (std::size_t i = 0; i < 4; ++i) {
    bias[8 + i] = 1;
    out_bias[i] = 3;
  }
  const BranchBound training = bound_of(model, true);
  EXPECT_NEAR(training.linear, (schatten({1, 2}) + schatten({1, 1})) / 0.8, 1e-9);
  EXPECT_NEAR(training.constant, (std::sqrt(5.0) + std::sqrt(2.0)) / 0.8 + 6, 1e-9);
  EXPECT_NEAR(bound_of(model, false).linear, schatten({1, 2}) + schatten({1, 1}), 1e-9);
}

// A factor per value feature stands between the two matrices.
TEST(AttentionBound, WithAGainOnTheValues) {
  const auto made = diagonal_attention({1, 1, 1, 1}, {1, 1, 1, 1}, {"model.gain.value.trainable=vector"});
  ProbedModel& model = *made;
  double* gain = model.value("blocks.0.attention.gain_value");
  for (std::size_t i = 0; i < 4; ++i) gain[i] = static_cast<double>(i);
  EXPECT_NEAR(bound_of(model, false).linear, schatten({0, 1}) + schatten({2, 3}), 1e-9);
}

TEST(AttentionBound, IsNotProvedWhereFirstValuesAreMixedIn) {
  ProbedModel model(placed_model("value-residual", small_model()));
  const BranchBound bound = branch_bound(model.resolved().sublayers[2], model.resolved().config,
                                         model.parameters(), {.step = 0, .training = false});
  EXPECT_FALSE(bound.proved);
  EXPECT_THAT(bound.reason, ::testing::HasSubstr("first attention"));
  EXPECT_TRUE(branch_bound(model.resolved().sublayers[0], model.resolved().config, model.parameters(),
                           {.step = 0, .training = false})
                  .proved);
}

// W_1 = 2 I, W_2 = 3 I, b_1 and b_2 along one axis.
TEST(FeedForwardBound, ByActivation) {
  struct Case {
    const char* activation;
    double linear, quadratic, constant;
  };
  const double s = std::pow(4, 1.0 / 32);  // of the identity of width 4
  for (const Case& expected :
       {Case{"relu", 6 * s * s, 0, 3 * s * 0.5 + 0.25},
        Case{"relu_squared", 3 * s * (2 * 2 * s * 0.5), 3 * s * 4 * s * s, 3 * s * 0.25 + 0.25}}) {
    ProbedModel model(placed_model("pre", {"model.blocks=1", "model.width=4", "model.ffn_hidden=4",
                                           "model.sequence_length=2", "model.block=['ffn']",
                                           std::string("model.activation=") + expected.activation}),
                      1);
    for (const char* name : {"expand", "contract"}) {
      double* weight = model.value(std::string("blocks.0.ffn.") + name + ".weight");
      for (std::size_t i = 0; i < 16; ++i) weight[i] = i % 5 == 0 ? (name[0] == 'e' ? 2 : 3) : 0;
    }
    model.value("blocks.0.ffn.expand.bias")[1] = 0.5;
    model.value("blocks.0.ffn.contract.bias")[2] = 0.25;
    const BranchBound bound = bound_of(model, false);
    EXPECT_NEAR(bound.linear, expected.linear, 1e-9) << expected.activation;
    EXPECT_NEAR(bound.quadratic, expected.quadratic, 1e-9) << expected.activation;
    EXPECT_NEAR(bound.constant, expected.constant, 1e-9) << expected.activation;
  }
}

}  // namespace
}  // namespace plumb::test

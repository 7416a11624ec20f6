// The recursion of variances against closed forms and against models as they are drawn.
#include "theory/depth_prediction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "theory/branch_moments.h"
#include "theory/probed_model.h"

namespace plumb::test {
namespace {

/// One matrix per sublayer with entries of variance gain / width, no biases of embeddings in the way.
std::vector<std::string> linear_model(std::int64_t sublayers, std::vector<std::string> more = {}) {
  std::vector<std::string> settings = {"model.block=['linear']",
                                       "model.blocks=" + std::to_string(sublayers),
                                       "model.width=64",
                                       "model.sequence_length=16",
                                       "model.position=none",
                                       "model.init.kind=normal",
                                       "model.init.projection_scale=none",
                                       "model.init.standard_deviation=0.125",  // 1 / sqrt(64)
                                       "model.init.embedding_standard_deviation=1"};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

DepthPrediction predict(const std::string& placement, const std::vector<std::string>& settings) {
  return predict_depth(resolve_model(placed_model(placement, settings)));
}

constexpr double kEps = 1e-5;  // of the norms

// Var_k = 1 + k b^2: independent branches of unit gain (docs/check.md).
TEST(DepthPredictionTest, PreAndPeriGrowLinearly) {
  for (const char* placement : {"pre", "peri"}) {
    const DepthPrediction p = predict(placement, linear_model(96, {"model.residual.b.value=0.5"}));
    for (std::size_t k = 0; k <= 96; ++k) {
      EXPECT_NEAR(p.stream[k], 1 + 0.25 * static_cast<double>(k), 1e-3) << placement << k;
    }
    EXPECT_EQ(p.growth.growth_class, GrowthClass::Linear) << placement;
    EXPECT_NEAR(p.alignment[40], 0, 1e-12);
  }
}

// Jacobian I + W / sigma(x): the gradient's mean square gains 1 + b^2 / Var_k at every sublayer.
TEST(DepthPredictionTest, GradientOfPreIsTheProductOfItsFactors) {
  const DepthPrediction p = predict("pre", linear_model(96));
  double product = 1;
  for (std::size_t k = 96; k-- > 0;) {
    product *= 1 + 1 / (1 + static_cast<double>(k) + kEps);
    EXPECT_NEAR(p.backward_factor[k], 1 + 1 / (1 + static_cast<double>(k)), 1e-3);
  }
  EXPECT_NEAR(p.gradient_ratio(), std::sqrt(product), 1e-3);
  EXPECT_NEAR(p.gradient_ratio(), 9.85, 0.01) << "sqrt(97): the product telescopes";
}

TEST(DepthPredictionTest, WithoutNormsVarianceDoubles) {
  const DepthPrediction p = predict("none", linear_model(20));
  EXPECT_NEAR(p.stream.back(), std::pow(2, 20), 1e-3);
  EXPECT_NEAR(p.gradient_ratio(), std::pow(2, 10), 1e-6);
  EXPECT_EQ(p.growth.growth_class, GrowthClass::Exponential);
  EXPECT_NEAR(doubling_exponent(p.stream), 10, 1e-9);
}

// (a^2 + b^2 r^2) / (a^2 + b^2 s^2) with r = s = 1: nothing is lost.
TEST(DepthPredictionTest, PostKeepsStreamAndGradient) {
  const DepthPrediction p = predict("post", linear_model(96, {"model.residual.b.value=0.3"}));
  EXPECT_NEAR(p.stream.back(), 1, 1e-4);
  EXPECT_NEAR(p.gradient_ratio(), 1, 1e-2);
  EXPECT_EQ(p.growth.growth_class, GrowthClass::Bounded);
}

// Weights x1.045 per sublayer: only without N_out do they reach the stream.
TEST(DepthPredictionTest, GrowingWeightsShowUnderPreOnly) {
  const std::vector<std::string> growing = {"model.init.depth=depth-growing",
                                            "model.init.depth_growth=1.045"};
  const DepthPrediction pre = predict("pre", linear_model(96, growing));
  double sum = 1;
  for (int k = 0; k < 96; ++k) sum += std::pow(1.045, 2 * k);
  EXPECT_NEAR(pre.stream.back() / sum, 1, 1e-4);
  EXPECT_EQ(pre.growth.growth_class, GrowthClass::Exponential);
  const DepthPrediction peri = predict("peri", linear_model(96, growing));
  EXPECT_NEAR(peri.stream.back(), 97, 0.1);
  EXPECT_EQ(peri.growth.growth_class, GrowthClass::Linear);
}

// Layers correlated by 0.9 reach the quadratic worst case (docs/check.md: p = 2.05, gradient 77).
TEST(DepthPredictionTest, CorrelatedLayersGrowQuadratically) {
  const DepthPrediction p = predict("pre", linear_model(96, {"model.init.depth_correlation=0.9"}));
  EXPECT_NEAR(doubling_exponent(p.stream), 2.05, 0.1);
  EXPECT_NEAR(std::sqrt(p.stream.back()), 79, 8);
  EXPECT_NEAR(p.gradient_ratio(), 77, 10);
  EXPECT_GT(p.alignment[90], 0.8);
}

// A knob of its own for each, with a skip from the block's start: s = a x + b z + e x_block, and N_post.
TEST(DepthPredictionTest, BlockSkipByHand) {
  const DepthPrediction p =
      predict("none", linear_model(2, {"model.block=['linear','linear']", "model.blocks=1",
                                       "model.residual.a.value=0.5", "model.residual.b.value=2",
                                       "model.residual.e.value=0.25", "model.residual.p.value=3"}));
  // x_1 = 3 (0.75 x_0 + 2 z_0), |z_0|^2 = 1;  x_2 = 3 (0.5 x_1 + 2 z_1 + 0.25 x_0), |z_1|^2 = |x_1|^2
  const double first = 9 * (0.5625 + 4);
  EXPECT_NEAR(p.stream[1], first, 1e-9);
  // 0.5 x_1 + 0.25 x_0 = (1.125 + 0.25) x_0 + 3 z_0
  EXPECT_NEAR(p.stream[2], 9 * (1.375 * 1.375 + 9 + 4 * first), 1e-9);
  // Down: g_s1 = 3 g; g_1 = 1.5 g + h_1, |h_1|^2 = 36; g_s0 = 3 g_1; g_0 = 1.5 g_1 + h_0 + 0.75 g_1 + 0.75 g
  const double g1 = 2.25 + 36;
  EXPECT_NEAR(p.gradient[1] * p.gradient[1], g1, 1e-9);
  const double skip = std::pow(2.25 * 1.5 + 0.75, 2) + 2.25 * 2.25 * 36;
  EXPECT_NEAR(p.gradient[0] * p.gradient[0], skip + 36 * g1, 1e-9);
}

TEST(DepthPredictionTest, BackwardFactorFunctionAgrees) {
  for (const char* placement : {"pre", "peri", "post", "pre-post"}) {
    const ResolvedModel model =
        resolve_model(placed_model(placement, linear_model(12, {"model.residual.b.value=0.7"})));
    const DepthPrediction p = predict_depth(model);
    for (std::size_t k = 0; k < 12; ++k) {
      const double sum = p.stream[k] + 0.49 * p.branch[k];
      EXPECT_NEAR(
          backward_factor(model.sublayers[k], model.config, p.stream[k], p.before_out[k], sum, 1, true),
          p.backward_factor[k], 1e-9)
          << placement << k;
    }
  }
}

TEST(DepthPredictionTest, DropoutAndStochasticDepthAddVariance) {
  const DepthPrediction p = predict(
      "peri", linear_model(10, {"model.dropout.branch=0.2", "model.residual.b.keep_probability=0.5"}));
  EXPECT_NEAR(p.stream.back(), 1 + 10 / 0.4, 1e-2);
}

TEST(DepthPredictionTest, SaysWhyThereIsNone) {
  EXPECT_THAT(predict("hyper-connections", {}).reason, ::testing::HasSubstr("hyper"));
  EXPECT_FALSE(predict("hyper-connections", {}).available());
}

/// Mean over seeds of log Var_k and of log |dL/dx_k| / |dL/dx_K|.
struct Measured {
  std::vector<double> stream, gradient;
};
Measured measure(const ModelConfig& config, int seeds, bool training = false) {
  Measured mean;
  for (int seed = 0; seed < seeds; ++seed) {
    ProbedModel model(config, 2, static_cast<std::uint64_t>(seed + 1), training);
    model.forward_backward();
    const auto levels = static_cast<std::size_t>(model.sublayers()) + 1;
    mean.stream.resize(levels);
    mean.gradient.resize(levels);
    for (std::size_t k = 0; k < levels; ++k) {
      mean.stream[k] += std::log(model.entry_variance(model.stream(static_cast<std::int64_t>(k)))) / seeds;
      mean.gradient[k] += std::log(model.gradient_norm(k) / model.gradient_norm(levels - 1)) / seeds;
    }
  }
  for (double& value : mean.stream) value = std::exp(value);
  for (double& value : mean.gradient) value = std::exp(value);
  return mean;
}

struct Drawn {
  std::string name, placement;
  std::vector<std::string> settings;
  double stream_tolerance, gradient_tolerance;  ///< relative
};

class DrawnModels : public ::testing::TestWithParam<Drawn> {};

// Monte Carlo: four draws. The gradient's recursion leaves out queries and keys, and that gradients of
// neighbouring tokens are alike, so it is held to less.
TEST_P(DrawnModels, AreAsPredicted) {
  const ModelConfig config = placed_model(GetParam().placement, GetParam().settings);
  const Measured measured = measure(config, 4);
  const DepthPrediction p = predict_depth(
      resolve_model(config),
      {.variance = measured.stream[0], .similarity = 1.0 / ProbedModel::kVocabulary, .training = false});
  for (std::size_t k = 0; k < measured.stream.size(); ++k) {
    EXPECT_NEAR(p.stream[k] / measured.stream[k], 1, GetParam().stream_tolerance) << "stream " << k;
    EXPECT_NEAR(p.gradient[k] / measured.gradient[k], 1, GetParam().gradient_tolerance) << "gradient " << k;
  }
}

std::vector<std::string> transformer(std::vector<std::string> more = {}) {
  std::vector<std::string> settings = {"model.blocks=6",
                                       "model.width=64",
                                       "model.heads=4",
                                       "model.sequence_length=24",
                                       "model.position=none",
                                       "model.init.kind=normal",
                                       "model.init.standard_deviation=0.125",
                                       "model.init.embedding_standard_deviation=1"};
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

INSTANTIATE_TEST_SUITE_P(
    Models, DrawnModels,
    ::testing::Values(
        Drawn{"linear_pre", "pre", linear_model(16), 0.15, 0.25},
        Drawn{"linear_correlated", "peri", linear_model(16, {"model.init.depth_correlation=0.9"}), 0.25, 0.4},
        Drawn{"pre", "pre", transformer(), 0.2, 0.35}, Drawn{"peri", "peri", transformer(), 0.2, 0.35},
        Drawn{"post", "post", transformer(), 0.1, 0.5},
        Drawn{"swiglu", "pre", transformer({"model.activation=swiglu"}), 0.25, 0.35},
        Drawn{"relu_squared", "peri", transformer({"model.activation=relu_squared"}), 0.2, 0.5},
        Drawn{"b2t",
              "b2t",
              {"model.blocks=6", "model.width=64", "model.heads=4", "model.sequence_length=24",
               "model.position=none"},
              0.15,
              0.6},
        Drawn{"parallel", "parallel", transformer(), 0.25, 0.35},
        Drawn{"depth_scaled", "pre", transformer({"model.residual.b.depth=1/sqrt(L)"}), 0.1, 0.2}),
    [](const auto& test) { return test.param.name; });

TEST(EmbeddingVariance, AsDrawn) {
  const ModelConfig config = placed_model("pre", {"model.width=256", "model.heads=4", "model.blocks=1",
                                                  "model.embedding_scale=2", "model.sequence_length=32"});
  ProbedModel model(config, 8);
  model.forward();
  EXPECT_NEAR(model.entry_variance(model.stream(0)) / embedding_variance(config, false), 1, 0.1);
}

}  // namespace
}  // namespace plumb::test

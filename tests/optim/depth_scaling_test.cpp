// Depth scaling and weights on the sphere: factors against the papers' tables, and steps against a recurrence
// by hand.
#include "optim/depth_scaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "backend/loader.h"
#include "config/schema.h"
#include "core/error.h"
#include "nn/engine.h"
#include "nn/placed_config.h"

namespace plumb::test {
namespace {

/// Base depth 4 blocks and base width 8.
LoadedConfig scaled(const std::string& scaling, std::int64_t blocks, std::int64_t width, double alpha = 1) {
  std::vector<std::string> settings = {"optimizer.scaling=" + scaling,
                                       "model.residual.b.depth=" + scaling,
                                       "model.residual.b.counts=blocks",
                                       "model.residual.b.depth_base=4",
                                       "model.blocks=" + std::to_string(blocks),
                                       "model.width=" + std::to_string(width),
                                       "model.heads=2"};
  if (scaling == "completep") {
    settings.emplace_back("optimizer.scaling_base_width=8");
    settings.push_back("model.residual.b.depth_exponent=" + std::to_string(-alpha));
  }
  return load_placed("pre", settings);
}

constexpr ParameterRole kOutside[] = {ParameterRole::Embedding, ParameterRole::FinalVector,
                                      ParameterRole::Head};

// arXiv 2505.01618, the table in the authors' code, with m_L = L / 4 and m_N = width / 8; head, embedding and
// final norm are as they are.
TEST(DepthScaling, CompletePTable) {
  for (const double alpha : {1.0, 0.5, 0.75}) {
    for (const auto& [blocks, width] :
         {std::pair{4, 8}, std::pair{64, 8}, std::pair{4, 32}, std::pair{64, 32}}) {
      SCOPED_TRACE(fmt::format("alpha {} blocks {} width {}", alpha, blocks, width));
      const Config config = scaled("completep", blocks, width, alpha).config;
      const double m_L = blocks / 4.0, m_N = width / 8.0;
      const OptimizerFactors matrix = optimizer_factors(config, ParameterRole::HiddenMatrix);
      EXPECT_DOUBLE_EQ(matrix.learning_rate, 1 / m_N * std::pow(m_L, alpha - 1));
      EXPECT_DOUBLE_EQ(matrix.epsilon, 1 / m_N * std::pow(m_L, -alpha));
      EXPECT_DOUBLE_EQ(matrix.weight_decay, m_N);
      const OptimizerFactors vector = optimizer_factors(config, ParameterRole::HiddenVector);
      EXPECT_DOUBLE_EQ(vector.learning_rate, std::pow(m_L, alpha - 1));
      EXPECT_DOUBLE_EQ(vector.epsilon, 1 / m_N * std::pow(m_L, -alpha));
      for (const ParameterRole role : kOutside)
        EXPECT_EQ(optimizer_factors(config, role), OptimizerFactors{});
    }
  }
}

TEST(DepthScaling, DepthMupTable) {
  for (const int blocks : {1, 4, 64}) {
    const Config config = scaled("depth-mup", blocks, 32).config;
    const OptimizerFactors matrix = optimizer_factors(config, ParameterRole::HiddenMatrix);
    EXPECT_DOUBLE_EQ(matrix.learning_rate, std::sqrt(4.0 / blocks)) << blocks;
    EXPECT_EQ(matrix.epsilon, 1);
    EXPECT_EQ(matrix.weight_decay, 1);
    EXPECT_EQ(optimizer_factors(config, ParameterRole::HiddenVector), OptimizerFactors{});
    for (const ParameterRole role : kOutside) EXPECT_EQ(optimizer_factors(config, role), OptimizerFactors{});
  }
}

TEST(DepthScaling, RatiosCountWhatTheStepCounts) {
  const LoadedConfig by_sublayers =
      load_placed("pre", {"optimizer.scaling=completep", "model.residual.b.depth=completep",
                          "model.residual.b.depth_base=4", "model.blocks=12", "model.width=16"});
  const ScalingRatios ratios = scaling_ratios(by_sublayers.config);
  EXPECT_EQ(ratios.depth, 6) << "24 sublayers";
  EXPECT_EQ(ratios.width, 1) << "no base width is this width";
  EXPECT_EQ(ratios.alpha, 1);
  const Config none = load_placed("pre", {"model.blocks=50"}).config;
  for (const ParameterRole role : {ParameterRole::HiddenMatrix, ParameterRole::HiddenVector}) {
    EXPECT_EQ(optimizer_factors(none, role), OptimizerFactors{});
  }
}

TEST(DepthScaling, SchemaNamesAreTheTable) {
  std::vector<std::string> names;
  for (const DepthScaling& row : depth_scalings()) names.emplace_back(row.name);
  EXPECT_THAT(find_field("optimizer.scaling")->allowed.names, testing::UnorderedElementsAreArray(names));
}

/// A model in float64 with gradients that a formula gives.
struct Trained {
  std::unique_ptr<Backend> backend;
  Engine engine;

  Trained(const ModelConfig& config, const std::string& device = "reference", DType compute = DType::Float64)
      : backend(make_backend(device)),
        engine(config, 10, {.batch = 1, .tokens = config.sequence_length, .compute = compute}, 3, *backend) {
    engine.initialize();
    engine.begin_step(0);
  }
  void set_gradients(int step) {
    for (const Parameter* parameter : engine.parameters().trainable()) {
      auto* gradient = parameter->gradient.as<double>();
      for (std::int64_t i = 0; i < parameter->shape.elements(); ++i) {
        gradient[i] = 0.01 * std::sin(static_cast<double>(i + 7 * parameter->index + 3 * step));
      }
    }
  }
  std::map<std::string, std::vector<double>> values() {
    std::map<std::string, std::vector<double>> all;
    for (const Parameter& parameter : engine.parameters().all()) {
      const auto* data = parameter.value.as<double>();
      all[parameter.name].assign(data, data + parameter.shape.elements());
    }
    return all;
  }
};

/// Factors of that table for a tensor, told by its name and rank alone.
OptimizerFactors completep_by_name(const std::string& name, bool is_matrix, double m_L, double m_N) {
  if (name.find("blocks.") != 0) return {};
  const double epsilon = 1 / m_N / m_L;
  if (is_matrix) return {.learning_rate = 1 / m_N, .epsilon = epsilon, .weight_decay = m_N};
  return {.learning_rate = 1, .epsilon = epsilon};
}

TEST(DepthScaling, ATrainingStepWithCompletePIsAdamWByHand) {
  LoadedConfig loaded = scaled("completep", 8, 16);
  loaded.config.model.sequence_length = 4;
  loaded.config.model.tied_head = false;
  loaded.config.model.head_bias = true;
  loaded.config.model.logit_gain.trainable = "scalar";
  loaded.config.model.base.residual.a.trainable = "vector";
  Trained run(loaded.config.model);
  const OptimizerSettings settings{
      .beta1 = 0.8,
      .beta2 = 0.9,
      .epsilon = 0.02,
      .weight_decay = 0.3,
      .clip_norm = 0,
      .hidden_matrix = optimizer_factors(loaded.config, ParameterRole::HiddenMatrix),
      .hidden_vector = optimizer_factors(loaded.config, ParameterRole::HiddenVector)};
  Optimizer optimizer(settings, run.engine.parameters(), *run.backend);
  auto expected = run.values();
  std::map<std::string, std::vector<double>> momentum, square;
  for (int step = 0; step < 3; ++step) {
    run.set_gradients(step);
    const double rate = 0.05 * (step + 1);
    for (const Parameter* parameter : run.engine.parameters().trainable()) {
      const std::string& name = parameter->name;
      const OptimizerFactors factors = completep_by_name(name, parameter->shape.rank() == 2, 2, 2);
      const bool decays = parameter->shape.rank() == 2;
      momentum[name].resize(expected[name].size());
      square[name].resize(expected[name].size());
      for (std::size_t i = 0; i < expected[name].size(); ++i) {
        const double g = parameter->gradient.as<double>()[i];
        double &m = momentum[name][i], &v = square[name][i], &theta = expected[name][i];
        m = 0.8 * m + 0.2 * g;
        v = 0.9 * v + 0.1 * g * g;
        const double m_hat = m / (1 - std::pow(0.8, step + 1)), v_hat = v / (1 - std::pow(0.9, step + 1));
        theta -= factors.learning_rate * rate *
                 (m_hat / (std::sqrt(v_hat) + 0.02 * factors.epsilon) +
                  (decays ? 0.3 * factors.weight_decay : 0) * theta);
      }
    }
    optimizer.step(run.engine.stream(), step, rate);
    for (const auto& [name, values] : run.values()) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_NEAR(values[i], expected[name][i], 1e-14) << name << " after step " << step;
      }
    }
  }
}

TEST(ParameterRoles, WhatLiesInBlocksIsHidden) {
  for (const Placement& row : placements()) {
    SCOPED_TRACE(row.name);
    ModelConfig config =
        load_placed(std::string(row.name), {"model.blocks=2", "model.width=8", "model.heads=2"}).config.model;
    config.tied_head = false;
    config.head_bias = true;
    config.embedding_norm.kind = "layernorm";
    const Trained run(config);
    for (const Parameter& parameter : run.engine.parameters().all()) {
      const std::string& name = parameter.name;
      const ParameterRole expected =
          name.starts_with("blocks.")
              ? (parameter.shape.rank() == 2 ? ParameterRole::HiddenMatrix : ParameterRole::HiddenVector)
          : name.starts_with("embedding.")               ? ParameterRole::Embedding
          : name == "head.weight" || name == "head.bias" ? ParameterRole::Head
                                                         : ParameterRole::FinalVector;
      EXPECT_EQ(parameter.role, expected) << name;
    }
  }
}

ModelConfig ngpt_config() {
  return load_placed("ngpt", {"model.blocks=3", "model.width=8", "model.heads=2", "model.sequence_length=4"})
      .config.model;
}

/// The largest deviation from 1 of the norms of what is on the sphere.
double off_the_sphere(Trained& run) {
  double worst = 0;
  std::size_t matrices = 0;
  for (const Parameter& parameter : run.engine.parameters().all()) {
    if (parameter.shape.rank() != 2) continue;
    ++matrices;
    const bool columns = parameter.name.find("projection") != std::string::npos ||
                         parameter.name.find("contract") != std::string::npos;
    const std::int64_t outer = parameter.shape[columns ? 1 : 0], inner = parameter.shape[columns ? 0 : 1];
    for (std::int64_t i = 0; i < outer; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < inner; ++j) {
        const std::int64_t at = columns ? j * outer + i : i * inner + j;
        sum += std::pow(parameter.value.as<double>()[at], 2);
      }
      worst = std::max(worst, std::abs(std::sqrt(sum) - 1));
    }
  }
  EXPECT_EQ(matrices, 4U * 3 + 2);
  return worst;
}

TEST(SphereWeights, StayOfUnitLengthAfterEveryStep) {
  for (const OptimizerKind kind : {OptimizerKind::AdamW, OptimizerKind::SgdMomentum}) {
    Trained run(ngpt_config());
    Optimizer optimizer({.kind = kind, .weight_decay = 0, .clip_norm = 0}, run.engine.parameters(),
                        *run.backend);
    const auto before = run.values();
    for (int step = 0; step < 5; ++step) {
      run.set_gradients(step);
      optimizer.step(run.engine.stream(), step, 0.5);
      EXPECT_LT(off_the_sphere(run), 1e-14) << step;
    }
    const auto after = run.values();
    EXPECT_NE(after.at("blocks.1.ffn.expand.weight"), before.at("blocks.1.ffn.expand.weight"));
    EXPECT_NE(after.at("blocks.1.ffn.b"), before.at("blocks.1.ffn.b")) << "step sizes are trained as ever";
  }
}

// A plain step and the projection back, by hand.
TEST(SphereWeights, AreTheUpdatedRowsDividedByTheirLength) {
  Trained run(ngpt_config());
  Optimizer optimizer({.kind = OptimizerKind::SgdMomentum, .weight_decay = 0, .clip_norm = 0},
                      run.engine.parameters(), *run.backend);
  run.set_gradients(0);
  const auto before = run.values();
  optimizer.step(run.engine.stream(), 0, 2.0);
  const auto after = run.values();
  const Parameter& table = *run.engine.parameters().find("embedding.token");
  for (std::size_t row = 0; row < 10; ++row) {
    double moved[8], square = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      moved[i] = before.at(table.name)[8 * row + i] - 2.0 * table.gradient.as<double>()[8 * row + i];
      square += moved[i] * moved[i];
    }
    EXPECT_GT(std::abs(square - 1), 1e-4);
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_NEAR(after.at(table.name)[8 * row + i], moved[i] / std::sqrt(square), 1e-15);
    }
  }
}

TEST(SphereWeights, ASkippedStepTouchesNothing) {
  Trained run(ngpt_config());
  Optimizer optimizer({.weight_decay = 0}, run.engine.parameters(), *run.backend);
  run.set_gradients(0);
  optimizer.step(run.engine.stream(), 0, 0.1);
  // Off the sphere by a loaded checkpoint, say: a step that is skipped must not pull them back either.
  run.engine.parameters().find("head.weight")->value.as<double>()[3] += 0.25;
  const auto before = run.values();
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    run.set_gradients(1);
    run.engine.parameters().find("blocks.0.ffn.b")->gradient.as<double>()[0] = bad;
    optimizer.step(run.engine.stream(), 1, 0.1);
    EXPECT_EQ(run.values(), before);
  }
  run.set_gradients(2);
  optimizer.step(run.engine.stream(), 2, 0.1);
  EXPECT_LT(off_the_sphere(run), 1e-14);
}

}  // namespace
}  // namespace plumb::test

// The optimiser against scalar recurrences written out here, on the reference backend in float64.
#include "optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <memory>

#include "backend/loader.h"
#include "core/error.h"

namespace plumb {
namespace {

class OptimizerTest : public testing::Test {
 protected:
  void build(DType compute, const std::string& backend = "reference") {
    backend_ = make_backend(backend);
    stream_ = backend_->create_stream();
    store_.declare({.name = "matrix", .shape = {3, 5}, .init = InitRule::normal(0.5)});
    store_.declare({.name = "frozen", .shape = {4}, .init = InitRule::normal(1), .trainable = false});
    store_.declare({.name = "gain",
                    .shape = {7},
                    .init = InitRule::constant(1),
                    .weight_decay = false,
                    .learning_rate_scale = 0.5});
    store_.allocate(*backend_, compute);
    store_.initialize(*stream_, 11);
  }
  double* value(const std::string& name) { return store_.find(name)->value.as<double>(); }
  double* gradient(const std::string& name) { return store_.find(name)->gradient.as<double>(); }
  void set_gradients(int step) {
    for (int i = 0; i < 15; ++i) gradient("matrix")[i] = 0.1 * std::sin(1.0 + i + 3 * step);
    for (int i = 0; i < 7; ++i) gradient("gain")[i] = 0.2 * std::cos(2.0 + i + 5 * step);
  }
  double global_norm() {
    double sum = 0;
    for (int i = 0; i < 15; ++i) sum += gradient("matrix")[i] * gradient("matrix")[i];
    for (int i = 0; i < 7; ++i) sum += gradient("gain")[i] * gradient("gain")[i];
    return std::sqrt(sum);
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  ParameterStore store_;
};

/// AdamW as arXiv 1711.05101 states it, one element.
struct ScalarAdamW {
  double theta, m = 0, v = 0;
  void update(int step, double g, double lr, double decay) {
    const double b1 = 0.8, b2 = 0.9, epsilon = 1e-3;
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
    const double m_hat = m / (1 - std::pow(b1, step + 1)), v_hat = v / (1 - std::pow(b2, step + 1));
    theta -= lr * (m_hat / (std::sqrt(v_hat) + epsilon) + decay * theta);
  }
};

constexpr OptimizerSettings kAdamW{
    .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 0.3, .clip_norm = 0.25};

TEST_F(OptimizerTest, AdamWFollowsTheScalarRecurrence) {
  build(DType::Float64);
  Optimizer optimizer(kAdamW, store_, *backend_);
  std::vector<ScalarAdamW> matrix, gain;
  for (int i = 0; i < 15; ++i) matrix.push_back({value("matrix")[i]});
  for (int i = 0; i < 7; ++i) gain.push_back({value("gain")[i]});
  const std::vector<double> frozen(value("frozen"), value("frozen") + 4);

  for (int step = 0; step < 12; ++step) {
    set_gradients(step);
    const double clip = std::min(1.0, 0.25 / global_norm());
    EXPECT_LT(clip, 1);
    const double lr = 0.01 * (step + 1);
    double change_square = 0, old_square = 0;
    for (int i = 0; i < 15; ++i) {
      const double before = matrix[static_cast<std::size_t>(i)].theta;
      matrix[static_cast<std::size_t>(i)].update(step, clip * gradient("matrix")[i], lr, 0.3);
      change_square += std::pow(matrix[static_cast<std::size_t>(i)].theta - before, 2);
      old_square += before * before;
    }
    for (int i = 0; i < 7; ++i)
      gain[static_cast<std::size_t>(i)].update(step, clip * gradient("gain")[i], 0.5 * lr, 0);
    optimizer.step(*stream_, step, lr);

    for (int i = 0; i < 15; ++i)
      ASSERT_NEAR(value("matrix")[i], matrix[static_cast<std::size_t>(i)].theta, 1e-14) << step;
    for (int i = 0; i < 7; ++i)
      ASSERT_NEAR(value("gain")[i], gain[static_cast<std::size_t>(i)].theta, 1e-14) << step;
    const auto position = store_.find("matrix")->index;
    EXPECT_NEAR(optimizer.update_squares().as<double>()[position], change_square, 1e-14);
    EXPECT_NEAR(optimizer.parameter_squares().as<double>()[position], old_square, 1e-13);
    EXPECT_NEAR(optimizer.step_scalars().as<double>()[kStepGradientNorm], global_norm(), 1e-14);
    EXPECT_NEAR(optimizer.step_scalars().as<double>()[kStepClipFactor], clip, 1e-14);
    EXPECT_EQ(optimizer.step_scalars().as<double>()[kStepLearningRate], lr);
  }
  EXPECT_EQ(frozen, std::vector<double>(value("frozen"), value("frozen") + 4));
}

TEST_F(OptimizerTest, SgdWithMomentum) {
  build(DType::Float64);
  Optimizer optimizer(
      {.kind = OptimizerKind::SgdMomentum, .momentum = 0.7, .weight_decay = 0.1, .clip_norm = 0}, store_,
      *backend_);
  double theta = value("matrix")[4], velocity = 0;
  double gain = value("gain")[2], gain_velocity = 0;
  for (int step = 0; step < 8; ++step) {
    set_gradients(step);
    velocity = 0.7 * velocity + gradient("matrix")[4];
    theta -= 0.05 * (velocity + 0.1 * theta);
    gain_velocity = 0.7 * gain_velocity + gradient("gain")[2];
    gain -= 0.025 * gain_velocity;
    optimizer.step(*stream_, step, 0.05);
    EXPECT_EQ(optimizer.step_scalars().as<double>()[kStepClipFactor], 1) << "clip_norm 0 does not clip";
    EXPECT_NEAR(value("matrix")[4], theta, 1e-15);
    EXPECT_NEAR(value("gain")[2], gain, 1e-15);
  }
  EXPECT_EQ(optimizer.state_tensors().size(), 2U);
}

TEST_F(OptimizerTest, AGradientThatIsNotFiniteChangesNothing) {
  build(DType::Float64);
  Optimizer optimizer(kAdamW, store_, *backend_);
  set_gradients(0);
  optimizer.step(*stream_, 0, 0.1);
  const auto snapshot = [&] {
    std::vector<double> all(value("matrix"), value("matrix") + 15);
    all.insert(all.end(), value("gain"), value("gain") + 7);
    for (const auto& state : optimizer.state_tensors()) {
      all.insert(all.end(), state.tensor.as<double>(), state.tensor.as<double>() + state.tensor.elements());
    }
    return all;
  };
  const std::vector<double> before = snapshot();
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    set_gradients(1);
    gradient("gain")[6] = bad;
    optimizer.step(*stream_, 1, 0.1);
    EXPECT_EQ(optimizer.step_scalars().as<double>()[kStepSkipFactor], 0);
    EXPECT_EQ(snapshot(), before);
  }
  set_gradients(2);
  optimizer.step(*stream_, 2, 0.1);
  EXPECT_EQ(optimizer.step_scalars().as<double>()[kStepSkipFactor], 1);
  EXPECT_NE(snapshot(), before) << "the next finite step must update again";
}

TEST_F(OptimizerTest, RestoredStateContinuesBitForBit) {
  build(DType::Float64);
  Optimizer first(kAdamW, store_, *backend_);
  for (int step = 0; step < 3; ++step) {
    set_gradients(step);
    first.step(*stream_, step, 0.05);
  }
  const std::vector<double> parameters(value("matrix"), value("matrix") + 15);
  std::map<std::string, std::vector<double>> saved;
  for (const auto& state : first.state_tensors()) {
    saved[state.name].assign(state.tensor.as<double>(), state.tensor.as<double>() + state.tensor.elements());
  }
  ASSERT_EQ(saved.count("variance/gain"), 1U);
  ASSERT_EQ(saved.count("momentum/matrix"), 1U);
  set_gradients(3);
  first.step(*stream_, 3, 0.05);
  const std::vector<double> expected(value("matrix"), value("matrix") + 15);

  std::copy(parameters.begin(), parameters.end(), value("matrix"));
  Optimizer second(kAdamW, store_, *backend_);
  for (const auto& state : second.state_tensors()) {
    std::copy(saved[state.name].begin(), saved[state.name].end(), state.tensor.as<double>());
  }
  second.step(*stream_, 3, 0.05);
  EXPECT_EQ(std::vector<double>(value("matrix"), value("matrix") + 15), expected);
}

TEST_F(OptimizerTest, ComputeCopiesAreTheRoundedParameters) {
  build(DType::BFloat16, "cpu");
  Optimizer optimizer(kAdamW, store_, *backend_);
  for (const Parameter* parameter : store_.trainable()) {
    backend_->elementwise().fill(*stream_, parameter->gradient, 0.125);
  }
  optimizer.step(*stream_, 0, 0.1);
  stream_->synchronize();
  for (const Parameter& parameter : store_.all()) {
    for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
      ASSERT_EQ(parameter.compute.as<bfloat16>()[i].bits, bfloat16(parameter.value.as<float>()[i]).bits)
          << parameter.name;
    }
  }
  EXPECT_LT(store_.find("gain")->value.as<float>()[0], 0.99F) << "the step must have moved the parameters";
}

TEST_F(OptimizerTest, Names) {
  EXPECT_EQ(optimizer_kind_from_name("sgd"), OptimizerKind::SgdMomentum);
  EXPECT_THROW(optimizer_kind_from_name("adam"), InputError);
}

}  // namespace
}  // namespace plumb

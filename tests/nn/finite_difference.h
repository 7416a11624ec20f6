// Gradients of a tiny model against central differences of its loss, in float64 on the reference backend.
#pragma once

#include "nn/tiny_model.h"

namespace plumb::test {

/// The derivative along a random direction over each tensor: catches any wrong entry with probability one.
inline void expect_gradients_match(TinyModel& model) {
  model.forward_backward();
  const double scale = [&] {
    double sum = 0;
    for (const Parameter* parameter : model.engine().parameters().trainable()) {
      sum += std::pow(norm_of(TinyModel::gradient(*parameter)), 2);
    }
    return std::sqrt(sum);
  }();
  ASSERT_GT(scale, 1e-3);
  for (const Parameter* parameter : model.engine().parameters().trainable()) {
    const std::vector<double> gradient = TinyModel::gradient(*parameter);
    const auto count = static_cast<std::size_t>(parameter->shape.elements());
    const RandomStream random{17, 0, static_cast<std::uint32_t>(parameter->index)};
    std::vector<double> direction(count);
    double expected = 0;
    for (std::size_t i = 0; i < count; ++i) {
      direction[i] = random.normal(i) / std::sqrt(static_cast<double>(count));
      expected += direction[i] * gradient[i];
    }
    const std::vector<double> saved(TinyModel::value(*parameter), TinyModel::value(*parameter) + count);
    const auto loss_at = [&](double step) {
      for (std::size_t i = 0; i < count; ++i)
        TinyModel::value(*parameter)[i] = saved[i] + step * direction[i];
      return model.forward();
    };
    constexpr double h = 2e-4;
    // Fourth-order central difference: error ~ h^4 while rounding costs 1e-16 / h.
    const double measured = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
    loss_at(0);
    EXPECT_NEAR(measured, expected, 1e-8 * scale + 1e-6 * std::abs(expected)) << parameter->name;
  }
}

inline void expect_gradients_match(const ModelConfig& config, bool training) {
  TinyModel model(config, 2, training);
  expect_gradients_match(model);
}

}  // namespace plumb::test

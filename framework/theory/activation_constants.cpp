#include "theory/activation_constants.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double normal_density(double t) { return std::exp(-t * t / 2) / std::sqrt(2 * std::numbers::pi); }
double normal_below(double t) { return std::erfc(-t / std::numbers::sqrt2) / 2; }
double logistic(double t) { return 1 / (1 + std::exp(-t)); }

double gelu(double t) { return t * normal_below(t); }
double gelu_slope(double t) { return normal_below(t) + t * normal_density(t); }

constexpr double kTanhCubic = 0.044715;
double tanh_argument(double t) { return std::sqrt(2 / std::numbers::pi) * (t + kTanhCubic * t * t * t); }
double gelu_tanh(double t) { return t * (1 + std::tanh(tanh_argument(t))) / 2; }
double gelu_tanh_slope(double t) {
  const double th = std::tanh(tanh_argument(t));
  const double inner = std::sqrt(2 / std::numbers::pi) * (1 + 3 * kTanhCubic * t * t);
  return (1 + th) / 2 + t * (1 - th * th) * inner / 2;
}

double relu(double t) { return t > 0 ? t : 0; }
double relu_slope(double t) { return t > 0 ? 1 : t == 0 ? 0.5 : 0; }
double relu_squared(double t) { return relu(t) * relu(t); }
double relu_squared_slope(double t) { return 2 * relu(t); }

double silu(double t) { return t * logistic(t); }
double silu_slope(double t) {
  const double s = logistic(t);
  return s + t * s * (1 - s);
}

}  // namespace

// sup |f'|: gelu Phi(t) + t phi(t) at t = sqrt(2), where its derivative phi(t) (2 - t^2) is 0; silu where
// t tanh(t/2) = 2, t = 2.3994; gelu_tanh found on a grid. The tests compute all of them again.
const std::vector<ActivationConstants>& activation_constants() {
  using enum ActivationKind;
  using enum ActivationGrowth;
  static const std::vector<ActivationConstants> rows = {
      {Gelu, "gelu", gelu, gelu_slope, Linear, 1.12891, "arXiv 1606.08415; maximum of the slope computed"},
      {GeluTanh, "gelu_tanh", gelu_tanh, gelu_tanh_slope, Linear, 1.12900,
       "arXiv 1606.08415; maximum of the slope computed"},
      {Relu, "relu", relu, relu_slope, Linear, 1, "definition"},
      {ReluSquared, "relu_squared", relu_squared, relu_squared_slope, Square, kInfinity, "arXiv 2109.08668"},
      {Silu, "silu", silu, silu_slope, Linear, 1.09984, "arXiv 1702.03118; maximum of the slope computed"},
      {SwiGlu, "swiglu", silu, silu_slope, Product, kInfinity, "arXiv 2002.05202"},
      {GeGlu, "geglu", gelu, gelu_slope, Product, kInfinity, "arXiv 2002.05202"},
  };
  return rows;
}

const ActivationConstants& constants_of(ActivationKind kind) {
  for (const ActivationConstants& row : activation_constants()) {
    if (row.kind == kind) return row;
  }
  fail("an activation without a row of constants");
}

}  // namespace plumb

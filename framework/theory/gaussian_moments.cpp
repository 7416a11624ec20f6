#include "theory/gaussian_moments.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace plumb {
namespace {

constexpr int kHermiteOrders = 12;

/// Mean squares of a squashing function s(alpha x) and of its slope.
NormMoments squashed(const NormConfig& norm, double square, double (*value)(double),
                     double (*slope)(double)) {
  const double alpha = norm.alpha_init, gain = norm.gain ? norm.gain_init : 1;
  const double deviation = alpha * std::sqrt(square);
  return {gain * gain * gaussian_mean([&](double n) { return std::pow(value(deviation * n), 2); }),
          gain * gain * alpha * alpha *
              gaussian_mean([&](double n) { return std::pow(slope(deviation * n), 2); })};
}

/// sum_m x_m y_m q^m.
double series(const std::vector<double>& x, const std::vector<double>& y, double q) {
  double sum = 0, power = 1;
  for (std::size_t m = 0; m < x.size(); ++m) {
    sum += x[m] * y[m] * power;
    power *= q;
  }
  return sum;
}

/// E f(n) He_m(n) / sqrt(m!) for the first orders, and the root of what they leave of E f^2.
std::vector<double> hermite_series(const std::function<double(double)>& f, double square) {
  std::vector<double> list;
  double rest = square;
  for (int m = 0; m < kHermiteOrders; ++m) {
    const double c = gaussian_mean([&](double n) {
      double below = 0, current = 1;
      for (int j = 0; j < m; ++j) {
        const double next = (n * current - std::sqrt(static_cast<double>(j)) * below) / std::sqrt(j + 1.0);
        below = current;
        current = next;
      }
      return f(n) * current;
    });
    list.push_back(c);
    rest -= c * c;
  }
  list.push_back(std::sqrt(std::max(rest, 0.0)));
  return list;
}

double tanh_of(double t) { return std::tanh(t); }
double tanh_slope(double t) { return 1 - std::tanh(t) * std::tanh(t); }
double erf_of(double t) { return std::erf(t); }
double erf_slope(double t) { return 2 / std::sqrt(std::numbers::pi) * std::exp(-t * t); }

}  // namespace

double gaussian_mean(const std::function<double(double n)>& f) {
  constexpr int kSteps = 640;
  constexpr double kStep = 1.0 / 64;
  double sum = 0;
  for (int i = -kSteps; i <= kSteps; ++i) {
    const double n = i * kStep;
    sum += f(n) * std::exp(-n * n / 2);
  }
  return sum * kStep / std::sqrt(2 * std::numbers::pi);
}

double ActivationMoments::correlation(const ActivationMoments& other, double q) const {
  if (square == 0 || other.square == 0) return 0;
  double sum = series(hermite, other.hermite, q);
  if (gated) sum *= q * std::sqrt(gate * other.gate);
  return sum / std::sqrt(square * other.square);
}

double ActivationMoments::slope_correlation(double q) const {
  if (slope_square == 0) return 0;
  double sum = series(slope_hermite, slope_hermite, q);
  if (gated) sum = sum * q * gate + series(hermite, hermite, q);
  return sum / slope_square;
}

ActivationMoments activation_moments(const ActivationConstants& activation, bool gated, double variance) {
  const double deviation = std::sqrt(variance);
  const auto value = [&](double n) { return activation.value(deviation * n); };
  const auto slope = [&](double n) { return activation.slope(deviation * n); };
  const double value_square = gaussian_mean([&](double n) { return std::pow(value(n), 2); });
  const double slope_square = gaussian_mean([&](double n) { return std::pow(slope(n), 2); });
  ActivationMoments moments;
  moments.gated = gated;
  moments.gate = gated ? variance : 1;
  moments.square = value_square * moments.gate;
  moments.slope_square = gated ? slope_square * variance + value_square : slope_square;
  moments.hermite = hermite_series(value, value_square);
  moments.slope_hermite = hermite_series(slope, slope_square);
  return moments;
}

NormMoments norm_moments(const NormConfig& norm, NormKind kind, std::int64_t width, double square) {
  const double gain = norm.gain ? norm.gain_init : 1;
  switch (kind) {
    case NormKind::None:
      return {square, 1};
    case NormKind::LayerNorm:
    case NormKind::RmsNorm:
      return {gain * gain * square / (square + norm.epsilon), gain * gain / (square + norm.epsilon)};
    case NormKind::L2: {
      const double whole = static_cast<double>(width) * square + norm.epsilon;
      return {gain * gain * square / whole, gain * gain / whole};
    }
    case NormKind::DyT:
      return squashed(norm, square, tanh_of, tanh_slope);
    case NormKind::Derf:
      return squashed(norm, square, erf_of, erf_slope);
  }
  return {square, 1};
}

}  // namespace plumb

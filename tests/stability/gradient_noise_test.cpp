// The estimators of gradient noise on planted gradients and covariances, and the moving averages.
#include "stability/gradient_noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/rng.h"
#include "stability/absent.h"

namespace plumb {
namespace {

/// G and the diagonal of Sigma that sequences' gradients are drawn with.
struct Planted {
  std::vector<double> gradient{0.3, -0.2, 0.1, 0.05, 0.4}, deviation{1.0, 0.5, 0.2, 0.1, 0.7};

  double square() const {
    double sum = 0;
    for (const double g : gradient) sum += g * g;
    return sum;
  }
  double trace() const {
    double sum = 0;
    for (const double d : deviation) sum += d * d;
    return sum;
  }
};

double square_of(const std::vector<double>& vector) {
  double sum = 0;
  for (const double x : vector) sum += x * x;
  return sum;
}

/// One step of ranks with so many sequences each.
GradientNoise draw(const Planted& planted, const std::vector<int>& sequences, int step) {
  const RandomStream random{11, static_cast<std::uint32_t>(step), 1};
  std::uint64_t next = 0;
  double n = 0, mean_square = 0;
  for (const int count : sequences) n += count;
  std::vector<double> all(planted.gradient.size(), 0.0);
  for (const int count : sequences) {
    std::vector<double> rank(planted.gradient.size(), 0.0);
    for (int sequence = 0; sequence < count; ++sequence) {
      for (std::size_t i = 0; i < rank.size(); ++i) {
        rank[i] += (planted.gradient[i] + planted.deviation[i] * random.normal(next++)) / count;
      }
    }
    for (std::size_t i = 0; i < rank.size(); ++i) all[i] += count / n * rank[i];
    mean_square += count / n * square_of(rank);
  }
  return gradient_noise(square_of(all), mean_square, n, static_cast<int>(sequences.size()));
}

/// Mean of the draws and its standard error.
struct Estimate {
  double mean = 0, error = 0;
};

Estimate estimate(const std::vector<double>& draws) {
  const auto count = static_cast<double>(draws.size());
  Estimate result;
  double squares = 0;
  for (const double x : draws) result.mean += x / count;
  for (const double x : draws) squares += (x - result.mean) * (x - result.mean);
  result.error = std::sqrt(squares / (count - 1) / count);
  return result;
}

class GradientNoiseOfRanks : public ::testing::TestWithParam<std::vector<int>> {};

TEST_P(GradientNoiseOfRanks, PlantedValuesComeOut) {
  const Planted planted;
  std::vector<double> squares, traces;
  NoiseScales scales(1, 0.999);
  for (int step = 1; step <= 6000; ++step) {
    const GradientNoise noise = draw(planted, GetParam(), step);
    squares.push_back(noise.square);
    traces.push_back(noise.trace);
    scales.update(0, step, noise);
  }
  const Estimate square = estimate(squares), trace = estimate(traces);
  EXPECT_NEAR(square.mean, planted.square(), 4 * square.error);
  EXPECT_NEAR(trace.mean, planted.trace(), 4 * trace.error);
  // The errors must be small enough for the biased estimates to be refused: the mean of |g_r|^2 has tr
  // Sigma of a rank's sequences too much, |g|^2 has that of all of them.
  double n = 0;
  for (const int count : GetParam()) n += count;
  EXPECT_LT(4 * square.error, 0.5 * planted.trace() / n);
  EXPECT_LT(4 * trace.error, 0.1 * planted.trace());
  const double expected = planted.trace() / planted.square();
  EXPECT_NEAR(scales.scale(0), expected, 0.2 * expected);
}

INSTANTIATE_TEST_SUITE_P(, GradientNoiseOfRanks,
                         ::testing::Values(std::vector<int>{4, 4, 4, 4}, std::vector<int>{1, 2, 7, 4},
                                           std::vector<int>{3, 1}));

TEST(GradientNoise, EqualRanks) {
  // Two ranks with gradients (1,0) and (0,1): inner product 0, mean (1/2,1/2).
  const GradientNoise apart = gradient_noise(0.5, 1, 8, 2);
  EXPECT_DOUBLE_EQ(apart.square, 0);
  EXPECT_DOUBLE_EQ(apart.agreement, 0);
  EXPECT_DOUBLE_EQ(apart.trace, 4);
  const GradientNoise same = gradient_noise(1, 1, 8, 2);
  EXPECT_DOUBLE_EQ(same.agreement, 1);
  EXPECT_DOUBLE_EQ(same.trace, 0);
  EXPECT_TRUE(is_absent(gradient_noise(0, 0, 8, 2).agreement)) << "no gradient agrees with none";
}

TEST(NoiseScales, WeightsDecayWithTheStepsBetween) {
  NoiseScales scales(2, 0.5);
  EXPECT_TRUE(is_absent(scales.scale(1)));
  scales.update(1, 10, {.square = 1, .trace = 4});
  EXPECT_DOUBLE_EQ(scales.scale(1), 4) << "one value is its own mean";
  scales.update(1, 12, {.square = 2, .trace = 8});  // the first is 2 steps old: it weighs 1/4
  EXPECT_DOUBLE_EQ(scales.square(1), (0.25 * 1 + 2) / 1.25);
  EXPECT_DOUBLE_EQ(scales.trace(1), (0.25 * 4 + 8) / 1.25);
  EXPECT_TRUE(is_absent(scales.square(0))) << "entries are apart";
}

TEST(NoiseScales, NoScaleWithoutAGradientAndNoHarmFromANan) {
  NoiseScales scales(1, 0.5);
  scales.update(0, 1, {.square = -1, .trace = 4});
  EXPECT_TRUE(is_absent(scales.scale(0))) << "|G|^2 cannot be told from 0";
  scales.update(0, 2, {.square = 3, .trace = 4});
  const double before = scales.scale(0);
  scales.update(0, 3, {.square = std::numeric_limits<double>::quiet_NaN(), .trace = 1});
  scales.update(0, 3, {.square = 1, .trace = std::numeric_limits<double>::infinity()});
  EXPECT_EQ(scales.scale(0), before);
}

}  // namespace
}  // namespace plumb

// Growth classes of planted profiles, of noisy ones, and of a random stack of linear sublayers.
#include "stability/growth_class.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Var_k = start + growth(k), times a log-normal error of the given size.
std::vector<double> profile(int sublayers, double start, const std::function<double(double)>& growth,
                            double error = 0, unsigned seed = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<double> variance = {start};
  for (int k = 1; k <= sublayers; ++k) {
    variance.push_back((start + growth(k)) * std::exp(error * normal(generator)));
  }
  return variance;
}

struct Planted {
  const char* name;
  double start;
  std::function<double(double)> growth;
  GrowthClass expected;
  double exponent;  // NaN: not compared
};

const std::vector<Planted>& planted() {
  static const std::vector<Planted> rows = {
      {"constant above", 0.01, [](double) { return 1.0; }, GrowthClass::Bounded, kNaN},
      {"constant below", 4, [](double) { return -3.0; }, GrowthClass::Bounded, kNaN},
      {"saturating", 1, [](double k) { return 5 * (1 - std::exp(-k / 12)); }, GrowthClass::Bounded, kNaN},
      {"linear", 1, [](double k) { return k; }, GrowthClass::Linear, 1},
      {"linear from nothing", 0, [](double k) { return 3e-4 * k; }, GrowthClass::Linear, 1},
      {"linear on a large stream", 1, [](double k) { return 0.01 * k; }, GrowthClass::Linear, 1},
      {"square root", 1, [](double k) { return 2 * std::sqrt(k); }, GrowthClass::Power, 0.5},
      {"cubic", 1, [](double k) { return 1e-4 * k * k * k; }, GrowthClass::Power, 3},
      {"quadratic", 1, [](double k) { return 0.3 * k * k; }, GrowthClass::Quadratic, 2},
      {"exponential", 1, [](double k) { return 10 * std::expm1(0.09 * k); }, GrowthClass::Exponential, kNaN},
      {"exponential by 10^30", 1, [](double k) { return std::expm1(0.72 * k); }, GrowthClass::Exponential,
       kNaN},
  };
  return rows;
}

TEST(GrowthClass, PlantedProfilesWithoutError) {
  for (const Planted& row : planted()) {
    SCOPED_TRACE(row.name);
    const Growth growth = classify_growth(profile(96, row.start, row.growth));
    EXPECT_EQ(growth.growth_class, row.expected) << growth_basis(growth);
    if (!std::isnan(row.exponent)) {
      EXPECT_NEAR(growth.exponent, row.exponent, 1e-4);
    }
    EXPECT_LT(growth.best().misfit, 1e-5) << growth_basis(growth);
  }
}

TEST(GrowthClass, PlantedProfilesWithFivePercentError) {
  for (const Planted& row : planted()) {
    SCOPED_TRACE(row.name);
    // A line and a quadratic are powers too: which of the two is named is the criterion's matter.
    int right = 0;
    for (unsigned seed = 1; seed <= 20; ++seed) {
      const Growth growth = classify_growth(profile(96, row.start, row.growth, 0.05, seed));
      const bool special = row.expected == GrowthClass::Linear || row.expected == GrowthClass::Quadratic;
      right += growth.growth_class == row.expected ||
               (special && growth.growth_class == GrowthClass::Power && growth.exponent_low <= row.exponent &&
                row.exponent <= growth.exponent_high);
    }
    EXPECT_GE(right, 18);
  }
}

TEST(GrowthClass, ParametersAreThePlantedOnes) {
  const Growth exponential =
      classify_growth(profile(64, 2, [](double k) { return 7 * std::expm1(k / 64 * 4.5); }));
  EXPECT_NEAR(exponential.best().parameter, 4.5, 1e-4);
  EXPECT_NEAR(exponential.total, (2 + 7 * std::expm1(4.5)) / 2, 1e-9);
  const Growth saturating =
      classify_growth(profile(64, 2, [](double k) { return 3 * (1 - std::exp(-k / 16)); }));
  EXPECT_EQ(saturating.best().model, GrowthModel::Saturating);
  EXPECT_NEAR(saturating.best().parameter, 0.25, 1e-4);
  const Growth linear = classify_growth(profile(64, 2, [](double k) { return 0.5 * k; }));
  EXPECT_NEAR(linear.best().scale, 32, 1e-6);
}

/// Share of 200 profiles whose interval holds the planted p.
double coverage(const std::function<std::vector<double>(unsigned)>& make, double exponent) {
  int inside = 0;
  for (unsigned seed = 1; seed <= 200; ++seed) {
    const Growth growth = classify_growth(make(seed));
    inside += growth.exponent_low <= exponent && exponent <= growth.exponent_high;
  }
  return inside / 200.0;
}

TEST(GrowthClass, TheIntervalHoldsThePlantedExponent) {
  for (const double exponent : {0.5, 1.0, 2.0}) {
    SCOPED_TRACE(exponent);
    const double share = coverage(
        [&](unsigned seed) {
          return profile(
              48, 1, [&](double k) { return 0.2 * std::pow(k, exponent); }, 0.03, seed);
        },
        exponent);
    EXPECT_GE(share, 0.90);
    EXPECT_LE(share, 0.995);  // an interval that always holds it is too wide to say anything
  }
}

TEST(GrowthClass, TheIntervalHoldsWhereErrorsAddUpFromSublayerToSublayer) {
  // Independent branches of unequal size: Var_k is a sum, so neighbours err alike.
  const auto make = [](unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    std::vector<double> variance = {1};
    for (int k = 1; k <= 96; ++k) variance.push_back(variance.back() + std::exp(0.4 * normal(generator)));
    return variance;
  };
  EXPECT_GE(coverage(make, 1), 0.88);
}

TEST(GrowthClass, ProfilesThatCannotBeJudged) {
  EXPECT_EQ(classify_growth(std::vector<double>{}).growth_class, GrowthClass::Unknown);
  EXPECT_EQ(classify_growth(profile(7, 1, [](double k) { return k; })).growth_class, GrowthClass::Unknown);
  EXPECT_EQ(classify_growth(profile(8, 1, [](double k) { return k; })).growth_class, GrowthClass::Linear);
  std::vector<double> broken = profile(48, 1, [](double k) { return k; });
  broken[20] = kNaN;
  EXPECT_EQ(classify_growth(broken).growth_class, GrowthClass::NotFinite);
  broken[20] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(classify_growth(broken).growth_class, GrowthClass::NotFinite);
  EXPECT_EQ(classify_growth(std::vector<double>(49, 0.0)).growth_class, GrowthClass::Unknown);
}

TEST(GrowthClass, OneSublayerThatStandsOutDoesNotDecide) {
  // A Post-LN stream whose last norm has learned another gain; a line with one wild sublayer.
  std::vector<double> bounded = profile(
      48, 1, [](double) { return 0.01; }, 0.005);
  bounded.back() = 2;
  EXPECT_EQ(classify_growth(bounded).growth_class, GrowthClass::Bounded)
      << growth_basis(classify_growth(bounded));
  std::vector<double> line = profile(
      48, 1, [](double k) { return k; }, 0.02);
  line[30] = 5000;
  const Growth growth = classify_growth(line);
  EXPECT_EQ(growth.growth_class, GrowthClass::Linear) << growth_basis(growth);
  EXPECT_NEAR(growth.exponent, 1, 0.05);
}

TEST(GrowthClass, AConcaveProfileIsNotExponentialForItsLateRise) {
  // Steep, then flat, then rising again, as trained streams do.
  const auto growth = [](double k) { return 1.3 * (1 - std::exp(-k / 6)) + 1.6e-5 * k * k * k; };
  const Growth found = classify_growth(profile(48, 1, growth));
  EXPECT_NE(found.growth_class, GrowthClass::Exponential) << growth_basis(found);
  EXPECT_NE(found.growth_class, GrowthClass::Quadratic) << growth_basis(found);
}

TEST(GrowthClass, AProfileThatDoesNotMoveIsBoundedAndHasNoExponent) {
  const Growth growth = classify_growth(std::vector<double>(49, 3.5));
  EXPECT_EQ(growth.growth_class, GrowthClass::Bounded);
  EXPECT_TRUE(std::isnan(growth.exponent));
  EXPECT_DOUBLE_EQ(growth.total, 1);
}

TEST(GrowthClass, SaysWhatItIsBasedOn) {
  const Growth growth = classify_growth(profile(
      48, 1, [](double k) { return k; }, 0.02));
  EXPECT_EQ(growth_text(growth).substr(0, 13), "linear, p = 1") << growth_text(growth);
  const std::string basis = growth_basis(growth);
  EXPECT_NE(basis.find("AICc over 48 values"), std::string::npos) << basis;
  for (int i = 0; i < kGrowthModels; ++i) {
    EXPECT_NE(basis.find(growth_model_name(static_cast<GrowthModel>(i))), std::string::npos) << basis;
  }
}

// A stack of x' = N_post(x + N_out(W N_in(x))) with random W, as in the toy of the placements' theory.
struct Stack {
  bool in = false, out = false, post = false;
  double weight_growth = 1;  // of W from sublayer to sublayer
  double shared = 0;         // W_k = shared W_0 + sqrt(1 - shared^2) E_k
};

constexpr int kWidth = 96, kSublayers = 96, kRows = 8;
using Row = std::vector<double>;

double row_variance(const Row& row) {
  double mean = 0, squares = 0;
  for (const double x : row) mean += x / kWidth;
  for (const double x : row) squares += (x - mean) * (x - mean) / kWidth;
  return squares;
}

Row normalised(const Row& row) {
  double mean = 0;
  for (const double x : row) mean += x / kWidth;
  const double scale = 1 / std::sqrt(row_variance(row));
  Row result;
  for (const double x : row) result.push_back((x - mean) * scale);
  return result;
}

std::vector<double> stack_variance(const Stack& stack, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  std::vector<Row> rows(kRows, Row(kWidth));
  for (Row& row : rows) {
    for (double& x : row) x = normal(generator);
    row = normalised(row);
  }
  std::vector<double> weight(kWidth * kWidth), first(kWidth * kWidth), variance = {1};
  for (double& w : first) w = normal(generator);
  double gain = 1 / std::sqrt(static_cast<double>(kWidth));
  for (int k = 1; k <= kSublayers; ++k, gain *= stack.weight_growth) {
    for (std::size_t i = 0; i < weight.size(); ++i) {
      const double own = std::sqrt(1 - stack.shared * stack.shared);
      weight[i] = gain * (stack.shared * first[i] + own * normal(generator));
    }
    double mean_variance = 0;
    for (Row& row : rows) {
      const Row input = stack.in ? normalised(row) : row;
      Row branch(kWidth, 0.0);
      for (int i = 0; i < kWidth; ++i) {
        for (int j = 0; j < kWidth; ++j) branch[i] += weight[i * kWidth + j] * input[j];
      }
      if (stack.out) branch = normalised(branch);
      for (int i = 0; i < kWidth; ++i) row[i] += branch[i];
      if (stack.post) row = normalised(row);
      mean_variance += row_variance(row) / kRows;
    }
    variance.push_back(mean_variance);
  }
  return variance;
}

TEST(GrowthClass, StacksOfRandomSublayersGrowAsTheoryHasIt) {
  for (unsigned seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(seed);
    for (const bool out : {false, true}) {
      const Growth growth = classify_growth(stack_variance({.in = true, .out = out}, seed));
      EXPECT_TRUE(growth.growth_class == GrowthClass::Linear || growth.growth_class == GrowthClass::Power)
          << growth_basis(growth);
      EXPECT_NEAR(growth.exponent, 1, 0.15);
    }
    const Growth alike = classify_growth(stack_variance({.in = true, .shared = 0.9}, seed));
    EXPECT_TRUE(alike.growth_class == GrowthClass::Quadratic || alike.growth_class == GrowthClass::Power)
        << growth_basis(alike);
    EXPECT_NEAR(alike.exponent, 2, 0.25);
    EXPECT_EQ(classify_growth(stack_variance({.in = true, .weight_growth = 1.045}, seed)).growth_class,
              GrowthClass::Exponential);
    EXPECT_NE(
        classify_growth(stack_variance({.in = true, .out = true, .weight_growth = 1.045}, seed)).growth_class,
        GrowthClass::Exponential);
    EXPECT_EQ(classify_growth(stack_variance({.post = true}, seed)).growth_class, GrowthClass::Bounded);
    EXPECT_EQ(classify_growth(stack_variance({}, seed)).growth_class, GrowthClass::Exponential);
  }
}

}  // namespace
}  // namespace plumb

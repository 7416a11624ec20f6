// Spike detection against plain re-computations of the rules, planted spikes, and what must survive.
#include "stability/spike_score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> noise(int count, double mean, double deviation, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(mean, deviation);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& value : values) value = normal(generator);
  return values;
}

/// The rule word by word over a growing list, with long double sums: no ring, no state.
std::vector<std::int64_t> plain_spikes(const std::vector<double>& values, std::size_t window,
                                       std::size_t minimum, long double sigmas, bool above_only) {
  std::vector<double> calm;
  std::vector<std::int64_t> spikes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    bool spike = !std::isfinite(values[i]);
    if (!spike && calm.size() >= minimum) {
      const std::size_t first = calm.size() > window ? calm.size() - window : 0;
      const auto count = static_cast<long double>(calm.size() - first);
      long double mean = 0, squares = 0;
      for (std::size_t j = first; j < calm.size(); ++j) mean += calm[j] / count;
      for (std::size_t j = first; j < calm.size(); ++j) squares += (calm[j] - mean) * (calm[j] - mean);
      const long double distance = (values[i] - mean) / std::sqrt(squares / (count - 1));
      spike = above_only ? distance >= sigmas : std::abs(distance) >= sigmas;
    }
    if (spike) {
      spikes.push_back(static_cast<std::int64_t>(i));
    } else {
      calm.push_back(values[i]);
    }
  }
  return spikes;
}

std::vector<double> series_with_spikes() {
  std::vector<double> values = noise(4000, 2.5, 0.05, 7);
  for (const int place : {1500, 1501, 1502, 2600, 3999}) values[static_cast<std::size_t>(place)] += 0.6;
  for (const int place : {900, 3000}) values[static_cast<std::size_t>(place)] -= 0.6;
  return values;
}

TEST(SpikeScore, SevenSigmaOfAThousandFindsThePlantedOnesOnBothSides) {
  const std::vector<double> values = series_with_spikes();
  const SpikeScore score = spike_score(values, kOlmoSpikeScore);
  EXPECT_THAT(score.indices, ::testing::ElementsAre(900, 1500, 1501, 1502, 2600, 3000, 3999));
  EXPECT_EQ(score.indices, plain_spikes(values, 1000, 128, 7, false));
  EXPECT_DOUBLE_EQ(score.percent, 100.0 * 7 / (4000 - 128));
}

TEST(SpikeScore, SixSigmaOf128LooksAboveOnly) {
  const std::vector<double> values = series_with_spikes();
  const SpikeScore score = spike_score(values, kOlmoStabilityMonitor);
  EXPECT_THAT(score.indices, ::testing::ElementsAre(1500, 1501, 1502, 2600, 3999));
  EXPECT_EQ(score.indices, plain_spikes(values, 128, 64, 6, true));
}

TEST(SpikeScore, EqualsThePlainRuleOnHeavyTails) {
  std::mt19937 generator(3);
  std::student_t_distribution<double> heavy(2.5);
  std::vector<double> values(6000);
  for (double& value : values) value = heavy(generator);
  const std::vector<std::int64_t> plain = plain_spikes(values, 1000, 128, 7, false);
  EXPECT_GT(plain.size(), 5U);
  EXPECT_EQ(spike_score(values, kOlmoSpikeScore).indices, plain);
  EXPECT_EQ(spike_score(values, kOlmoStabilityMonitor).indices, plain_spikes(values, 128, 64, 6, true));
}

TEST(SpikeScore, ARejectedValueLeavesTheWindow) {
  // If the first spike entered the window, its deviation would hide a second, smaller one.
  std::vector<double> values = noise(400, 1, 0.01, 1);
  values[300] = 100;
  values[310] = 1.2;
  EXPECT_THAT(spike_score(values, kOlmoStabilityMonitor).indices, ::testing::ElementsAre(300, 310));
}

TEST(SpikeScore, ValuesThatAreNotFiniteAreSpikesAndDoNotBlindTheDetector) {
  std::vector<double> values = noise(600, 1, 0.01, 2);
  values[10] = kNaN;  // before anything is judged
  values[200] = kInfinity;
  values[201] = kNaN;
  values[202] = -kInfinity;
  values[203] = 1.0;
  values[210] = 1.5;
  EXPECT_THAT(spike_score(values, kOlmoStabilityMonitor).indices,
              ::testing::ElementsAre(10, 200, 201, 202, 210));
}

TEST(SpikeScore, MoreNaNsThanTheWindowHoldsAreAllSpikes) {
  std::vector<double> values = noise(200, 1, 0.01, 2);
  values.insert(values.end(), 3000, kNaN);
  values.push_back(1.0);
  values.push_back(2.0);
  const SpikeScore score = spike_score(values, kOlmoStabilityMonitor);
  EXPECT_EQ(score.indices.size(), 3001U);
  EXPECT_EQ(score.indices.back(), 3201);
}

TEST(SpikeScore, ALastingNewLevelEndsTheAlarm) {
  std::vector<double> values = noise(500, 1, 0.01, 4);
  const std::vector<double> level = noise(500, 2, 0.01, 5);
  values.insert(values.end(), level.begin(), level.end());
  values[900] = 3;
  const SpikeScore score = spike_score(values, kOlmoStabilityMonitor);
  ASSERT_EQ(score.indices.size(), 65U);
  EXPECT_EQ(score.indices.front(), 500);
  EXPECT_EQ(score.indices[63], 563);
  EXPECT_EQ(score.indices[64], 900);
}

TEST(SpikeScore, NothingIsJudgedBeforeTheMinimum) {
  std::vector<double> values = noise(64, 1, 0.01, 6);
  values[20] = 50;
  EXPECT_THAT(spike_score(values, kOlmoStabilityMonitor).indices, ::testing::IsEmpty());
  EXPECT_EQ(spike_score(values, kOlmoStabilityMonitor).percent, 0);
  EXPECT_TRUE(std::isnan(SpikeDetector(kOlmoStabilityMonitor).deviation(1)));
}

TEST(SpikeScore, RoundingInAConstantSeriesIsNoSpike) {
  SpikeDetector detector(kOlmoStabilityMonitor);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(detector.observe(0.1 + 1e-17 * (i % 3)));
  EXPECT_FALSE(detector.observe(std::nextafter(0.1, 1.0)));
  EXPECT_TRUE(detector.observe(0.11));
}

TEST(SpikeScore, AnInterruptedSeriesGivesWhatTheWholeOneGives) {
  std::vector<double> values = series_with_spikes();
  values[2000] = kNaN;
  for (const int cut : {1, 100, 1000, 1501, 1502, 2001, 3500}) {
    SCOPED_TRACE(cut);
    SpikeDetector whole(kOlmoSpikeScore), first(kOlmoSpikeScore);
    std::vector<bool> expected, actual;
    for (const double value : values) expected.push_back(whole.observe(value));
    for (int i = 0; i < cut; ++i) actual.push_back(first.observe(values[static_cast<std::size_t>(i)]));
    SpikeDetector second(kOlmoSpikeScore, first.state());
    for (std::size_t i = static_cast<std::size_t>(cut); i < values.size(); ++i) {
      actual.push_back(second.observe(values[i]));
    }
    EXPECT_EQ(actual, expected);
    EXPECT_EQ(second.state(), whole.state());
    EXPECT_EQ(second.score_percent(), whole.score_percent());
  }
}

TEST(SpikeScore, AStateOfAnotherRuleIsRefused) {
  SpikeDetector detector(kOlmoSpikeScore);
  for (const double value : noise(500, 1, 0.01, 8)) detector.observe(value);
  EXPECT_ANY_THROW(SpikeDetector(kOlmoStabilityMonitor, detector.state()));
  SpikeState broken = SpikeDetector(kOlmoStabilityMonitor).state();
  broken.window.push_back(kNaN);
  EXPECT_ANY_THROW(SpikeDetector(kOlmoStabilityMonitor, broken));
}

TEST(SpikeScore, ACallerMayRejectByAnotherRule) {
  SpikeDetector detector(kOlmoStabilityMonitor);
  for (const double value : noise(100, 1, 0.01, 9)) detector.accept(value);
  const SpikeState before = detector.state();
  detector.reject(1.0);  // calm here, but the other series had a spike
  EXPECT_EQ(detector.state().window, before.window);
  EXPECT_EQ(detector.state().spikes, before.spikes + 1);
}

}  // namespace
}  // namespace plumb

// Down-sampling keeps every record in one bin, and what stands out of it.
#include "report/downsample.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<std::int64_t> steps_to(std::int64_t last, std::int64_t every = 1) {
  std::vector<std::int64_t> steps = {1};
  for (std::int64_t step = every > 1 ? every : 2; step <= last; step += every) steps.push_back(step);
  return steps;
}

TEST(Downsample, FewRecordsAreKeptOneByOne) {
  const std::vector<std::int64_t> steps = {1, 7, 9};
  EXPECT_THAT(step_bins(steps, 3), ::testing::ElementsAre(StepBin{0, 1}, StepBin{1, 2}, StepBin{2, 3}));
  EXPECT_THAT(step_bins({}, 3), ::testing::IsEmpty());
}

TEST(Downsample, BinsCoverEveryRecordOnceAndAreOfEqualWidth) {
  for (const std::size_t count : {2, 7, 500}) {
    SCOPED_TRACE(count);
    const std::vector<std::int64_t> steps = steps_to(10007);
    const std::vector<StepBin> bins = step_bins(steps, count);
    ASSERT_EQ(bins.size(), count);
    std::size_t next = 0;
    for (const StepBin& bin : bins) {
      EXPECT_EQ(bin.begin, next);
      EXPECT_GT(bin.end, bin.begin);
      EXPECT_NEAR(static_cast<double>(bin.end - bin.begin), 10007.0 / static_cast<double>(count), 1.0);
      next = bin.end;
    }
    EXPECT_EQ(next, steps.size());
  }
}

TEST(Downsample, GapsInTheStepsMakeNoEmptyBin) {
  const std::vector<std::int64_t> steps = {1, 2, 3, 4, 1000, 1001, 1002};
  const std::vector<StepBin> bins = step_bins(steps, 5);
  EXPECT_THAT(bins, ::testing::ElementsAre(StepBin{0, 4}, StepBin{4, 7}));
}

TEST(Downsample, ASpikeOfOneStepIsInTheExtremesOfItsBin) {
  std::vector<double> values(10000, 1.0);
  values[6789] = 50;
  values[1234] = -3;
  const std::vector<std::int64_t> steps = steps_to(10000);
  double largest = 0, smallest = 0, sum = 0;
  for (const StepBin& bin : step_bins(steps, 160)) {
    const BinValues found = summarise(std::span(values).subspan(bin.begin, bin.end - bin.begin));
    largest = std::max(largest, found.largest);
    smallest = std::min(smallest, found.smallest);
    sum += found.mean * static_cast<double>(bin.end - bin.begin);
  }
  EXPECT_EQ(largest, 50);
  EXPECT_EQ(smallest, -3);
  EXPECT_NEAR(sum, std::accumulate(values.begin(), values.end(), 0.0), 1e-6);
}

TEST(Downsample, ValuesThatAreNotFiniteAreLeftOut) {
  const std::vector<double> values = {kNaN, 2, std::numeric_limits<double>::infinity(), 4};
  const BinValues found = summarise(values);
  EXPECT_EQ(found.smallest, 2);
  EXPECT_EQ(found.largest, 4);
  EXPECT_EQ(found.mean, 3);
  const std::vector<double> nothing = {kNaN};
  EXPECT_TRUE(std::isnan(summarise(nothing).mean));
  EXPECT_TRUE(std::isnan(summarise(nothing).largest));
}

TEST(Downsample, TheMovingMedianIsThePlainOne) {
  std::mt19937 generator(5);
  std::normal_distribution<double> normal;
  std::vector<double> values(60);
  for (double& value : values) value = normal(generator);
  values[30] = 1e6;  // does not smear
  values[40] = kNaN;
  const std::vector<double> medians = moving_median(values, 7);
  ASSERT_EQ(medians.size(), values.size());
  for (int i = 0; i < 60; ++i) {
    const int side = std::min({3, i, 59 - i});
    std::vector<double> window;
    for (int j = i - side; j <= i + side; ++j) {
      if (std::isfinite(values[static_cast<std::size_t>(j)]))
        window.push_back(values[static_cast<std::size_t>(j)]);
    }
    std::sort(window.begin(), window.end());
    const std::size_t half = window.size() / 2;
    const double expected = window.size() % 2 == 1 ? window[half] : (window[half - 1] + window[half]) / 2;
    EXPECT_DOUBLE_EQ(medians[static_cast<std::size_t>(i)], expected) << i;
  }
}

TEST(Downsample, ChosenRecordsAreFirstLastAndEvenInTheLogarithm) {
  const std::vector<std::int64_t> all = steps_to(10000);
  const std::vector<std::size_t> chosen = chosen_records(all, 13);
  ASSERT_EQ(chosen.size(), 13U);
  EXPECT_EQ(all[chosen.front()], 1);
  EXPECT_EQ(all[chosen.back()], 10000);
  EXPECT_EQ(all[chosen[6]], 100);
  EXPECT_EQ(all[chosen[3]], 10);

  const std::vector<std::int64_t> sparse = steps_to(1500, 20);
  std::vector<std::int64_t> steps;
  for (const std::size_t i : chosen_records(sparse, 13)) steps.push_back(sparse[i]);
  EXPECT_THAT(steps, ::testing::ElementsAre(1, 20, 40, 80, 140, 240, 440, 820, 1500));

  const std::vector<std::int64_t> few = {1, 5, 9};
  EXPECT_THAT(chosen_records(few, 13), ::testing::ElementsAre(0, 1, 2));
}

}  // namespace
}  // namespace plumb

// Outlying ranks: planted ones are found, clean runs have none, two ranks are not judged.
#include "report/rank_outliers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "made_run.h"

namespace plumb {
namespace {

/// Log-normal norms of 5 % spread that all ranks scale alike from record to record.
RecordMatrix norms(std::size_t ranks, int records, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  RecordMatrix matrix{.columns = ranks, .values = {}};
  for (int record = 0; record < records; ++record) {
    const double common = std::exp(0.5 * normal(generator));
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      matrix.values.push_back(static_cast<float>(common * std::exp(0.05 * normal(generator))));
    }
  }
  return matrix;
}

TEST(RankOutliers, CleanRunsOfFourRanksHaveNone) {
  for (unsigned seed = 1; seed <= 20; ++seed) EXPECT_TRUE(rank_outliers(norms(4, 500, seed)).empty()) << seed;
}

TEST(RankOutliers, APlantedRankIsNamedFromItsFirstRecordOn) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    RecordMatrix matrix = norms(4, 500, seed);
    for (std::size_t record = 300; record < 400; ++record) matrix.values[4 * record + 2] *= 1.8F;
    std::set<std::size_t> records;
    for (const RankOutlier& outlier : rank_outliers(matrix)) {
      EXPECT_EQ(outlier.rank, 2U);
      EXPECT_GT(outlier.deviation, 6);
      records.insert(outlier.record);
    }
    EXPECT_GE(records.size(), 95U);
    EXPECT_GE(*records.begin(), 300U);
    EXPECT_LT(*records.rbegin(), 400U);
  }
}

TEST(RankOutliers, ANormThatIsNotFiniteIsAnOutlierAtOnce) {
  RecordMatrix matrix = norms(4, 10, 1);
  matrix.values[4 * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<RankOutlier> outliers = rank_outliers(matrix);
  ASSERT_EQ(outliers.size(), 1U);
  EXPECT_EQ(outliers[0].record, 3U);
  EXPECT_EQ(outliers[0].rank, 1U);
  EXPECT_TRUE(std::isinf(outliers[0].deviation));
}

TEST(RankOutliers, WithTwoRanksNobodyIsAccused) {
  RecordMatrix matrix = norms(2, 300, 1);
  for (std::size_t record = 100; record < 300; ++record) matrix.values[2 * record] *= 10;
  EXPECT_TRUE(rank_outliers(matrix).empty());
}

TEST(RankOutliers, MeanRatiosAreTakenAgainstTheMedian) {
  const RecordMatrix matrix = test::matrix(3, {1, 2, 4, 10, 10, 30});
  const std::vector<double> ratios = mean_rank_ratios(matrix);
  EXPECT_NEAR(ratios[0], (0.5 + 1) / 2, 1e-6);
  EXPECT_NEAR(ratios[1], 1, 1e-6);
  EXPECT_NEAR(ratios[2], (2.0 + 3) / 2, 1e-6);
}

}  // namespace
}  // namespace plumb

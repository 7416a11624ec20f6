// The cheapest assignment against all permutations.
#include "theory/assignment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

double cheapest_by_trying(const std::vector<double>& cost, std::size_t n) {
  std::vector<std::size_t> jobs(n);
  std::iota(jobs.begin(), jobs.end(), std::size_t{0});
  double best = std::numeric_limits<double>::infinity();
  do {
    double sum = 0;
    for (std::size_t worker = 0; worker < n; ++worker) sum += cost[worker * n + jobs[worker]];
    best = std::min(best, sum);
  } while (std::next_permutation(jobs.begin(), jobs.end()));
  return best;
}

void expect_cheapest(const std::vector<double>& cost, std::size_t n) {
  const Assignment found = cheapest_assignment(cost, static_cast<std::int64_t>(n));
  EXPECT_NEAR(found.cost, cheapest_by_trying(cost, n), 1e-12);
  std::vector<bool> taken(n, false);
  double sum = 0;
  for (std::size_t worker = 0; worker < n; ++worker) {
    const auto job = static_cast<std::size_t>(found.job_of[worker]);
    ASSERT_LT(job, n);
    EXPECT_FALSE(taken[job]) << "job " << job << " twice";
    taken[job] = true;
    sum += cost[worker * n + job];
  }
  EXPECT_NEAR(sum, found.cost, 1e-12);
}

TEST(Assignment, IsTheCheapestOfAllPermutations) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const std::size_t n = 1 + seed % 7;
    std::vector<double> cost(n * n);
    const RandomStream random{seed, 0, 2};
    for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = random.normal(i);
    expect_cheapest(cost, n);
  }
}

// Small whole numbers: many ties.
TEST(Assignment, WithTies) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const std::size_t n = 2 + seed % 5;
    std::vector<double> cost(n * n);
    const RandomStream random{seed, 0, 3};
    for (std::size_t i = 0; i < cost.size(); ++i) cost[i] = static_cast<double>(random.word(i) % 3);
    expect_cheapest(cost, n);
  }
}

// A permuted diagonal is found at a size where trying is hopeless.
TEST(Assignment, FindsAHiddenPermutation) {
  constexpr std::size_t kSize = 120;
  std::vector<double> cost(kSize * kSize, 1.0);
  for (std::size_t worker = 0; worker < kSize; ++worker) cost[worker * kSize + (worker * 7 + 3) % kSize] = 0;
  const Assignment found = cheapest_assignment(cost, kSize);
  EXPECT_EQ(found.cost, 0);
  for (std::size_t worker = 0; worker < kSize; ++worker) {
    EXPECT_EQ(found.job_of[worker], static_cast<std::int64_t>((worker * 7 + 3) % kSize));
  }
}

TEST(Assignment, RefusesWhatIsNoCost) {
  EXPECT_THROW(cheapest_assignment(std::vector<double>(3, 0.0), 2), Error);
  EXPECT_THROW(cheapest_assignment(std::vector<double>{1, 2, 3, std::numeric_limits<double>::quiet_NaN()}, 2),
               Error);
}

}  // namespace
}  // namespace plumb::test

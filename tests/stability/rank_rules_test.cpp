// The rules about single ranks, on drawn values: what is clean stays so, and what was planted is named.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>

#include "allocation_counter.h"
#include "stability/rank_deviations.h"
#include "stability/replica_difference.h"
#include "stability/slow_ranks.h"
#include "stability/tensor_deviations.h"

namespace plumb::test {
namespace {

enum class Tails { Normal, Laplace, Student3 };

/// Norms around 1 whose logarithms have a robust standard deviation of about `size`.
class Norms {
 public:
  Norms(int ranks, double size, Tails tails, unsigned seed)
      : size_(size), tails_(tails), random_(seed), values_(static_cast<std::size_t>(ranks)) {}

  std::vector<double>& next() {
    for (double& value : values_) value = std::exp(size_ * noise());
    return values_;
  }

 private:
  double noise() {
    if (tails_ == Tails::Normal) return std::normal_distribution<double>()(random_);
    if (tails_ == Tails::Student3) return std::student_t_distribution<double>(3)(random_) / 1.134;
    const double size = std::exponential_distribution<double>()(random_) / 1.028;
    return std::bernoulli_distribution()(random_) ? size : -size;
  }
  double size_;
  Tails tails_;
  std::mt19937 random_;
  std::vector<double> values_;
};

/// Steps until the first alarm, and whose it is.
struct First {
  std::int64_t step = -1;
  std::vector<int> ranks;
};
using Change = std::function<void(std::int64_t step, std::vector<double>& norms)>;

First first_alarm(int ranks, Tails tails, unsigned seed, std::int64_t steps, const Change& change,
                  double size = 0.1) {
  RankDeviations rule(ranks, RankDeviations::Measure::Logarithm);
  Norms norms(ranks, size, tails, seed);
  for (std::int64_t step = 1; step <= steps; ++step) {
    std::vector<double>& values = norms.next();
    change(step, values);
    First first{step, {}};
    for (const RankDeviation& found : rule.observe(values)) first.ranks.push_back(found.rank);
    if (!first.ranks.empty()) return first;
  }
  return {};
}

std::string name_of(const testing::TestParamInfo<std::tuple<int, Tails>>& info) {
  const char* names[] = {"normal", "laplace", "student3"};
  return std::to_string(std::get<0>(info.param)) + "_ranks_" +
         names[static_cast<int>(std::get<1>(info.param))];
}

class Worlds : public testing::TestWithParam<std::tuple<int, Tails>> {};
INSTANTIATE_TEST_SUITE_P(Worlds, Worlds,
                         testing::Combine(testing::Values(2, 3, 4, 5, 8, 16),
                                          testing::Values(Tails::Normal, Tails::Laplace, Tails::Student3)),
                         name_of);

// 500 clean steps, on 4 ranks 40 seeds, and with heavier tails than those of gradients.
TEST_P(Worlds, CleanStepsRaiseNoAlarm) {
  const auto& [ranks, tails] = GetParam();
  const unsigned seeds = ranks > 4 ? 10 : 40;
  int alarms = 0;
  for (unsigned seed = 0; seed < seeds; ++seed)
    alarms += first_alarm(ranks, tails, seed, 500, [](auto, auto&) {}).step >= 0 ? 1 : 0;
  EXPECT_EQ(alarms, 0) << "of " << seeds << " runs";
}

// The last rank's norms are multiplied by 1.5, from the start or later.
TEST_P(Worlds, AScaledRankIsNamedWithin20Steps) {
  const auto& [ranks, tails] = GetParam();
  const int bad = ranks - 1;
  for (const std::int64_t from : {1, 101}) {
    for (unsigned seed = 0; seed < 20; ++seed) {
      const First first = first_alarm(ranks, tails, seed, 200, [&](std::int64_t step, auto& norms) {
        if (step >= from) norms.back() *= 1.5;
      });
      // Nothing is judged in the first steps, and a scale of few steps is a coarse one.
      const std::int64_t unjudged = from == 1 ? RankDeviations::kFewestSteps + 6 : 0;
      const std::int64_t latest = from + unjudged +
                                  (tails == Tails::Normal    ? 19
                                   : tails == Tails::Laplace ? 29
                                                             : 39);
      ASSERT_GE(first.step, from) << "seed " << seed;
      ASSERT_LE(first.step, latest) << "seed " << seed;
      ASSERT_EQ(first.ranks, ranks == 2 ? (std::vector<int>{0, 1}) : std::vector<int>{bad})
          << "seed " << seed;
    }
  }
}

TEST(RankDeviationsRule, OneWildStepIsNoAlarm) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const First first = first_alarm(4, Tails::Normal, seed, 400, [](std::int64_t step, auto& norms) {
      if (step % 40 == 0) norms[1] *= 1e6;
    });
    EXPECT_EQ(first.step, -1) << "seed " << seed;
  }
}

TEST(RankDeviationsRule, SurvivesWhatIsNotFinite) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const First first = first_alarm(4, Tails::Normal, seed, 300, [](std::int64_t step, auto& norms) {
      if (step % 7 == 0) norms[static_cast<std::size_t>(step / 7 % 4)] = std::nan("");
      if (step % 11 == 0) norms[2] = INFINITY;
      if (step % 13 == 0) norms[0] = 0;
      if (step % 17 == 0) norms = {NAN, NAN, NAN, NAN};
      if (step > 200) norms[3] *= 0.6;
    });
    EXPECT_GT(first.step, 200) << "seed " << seed;
    EXPECT_LE(first.step, 230) << "seed " << seed;
    EXPECT_EQ(first.ranks, std::vector<int>{3});
  }
}

// Training calms down or grows wild: the spread of all ranks changes tenfold in one step.
TEST(RankDeviationsRule, FollowsASpreadThatChangesOnAllRanks) {
  for (const double factor : {0.1, 3.0}) {
    int alarms = 0;
    for (unsigned seed = 0; seed < 40; ++seed) {
      RankDeviations rule(4, RankDeviations::Measure::Logarithm);
      Norms norms(4, 0.1, Tails::Normal, seed);
      for (int step = 1; step <= 600; ++step) {
        std::vector<double>& values = norms.next();
        if (step > 200)
          for (double& value : values) value = std::pow(value, factor);
        alarms += static_cast<int>(rule.observe(values).size());
      }
    }
    EXPECT_LE(alarms, factor > 1 ? 4 : 0) << "factor " << factor;
  }
}

TEST(RankDeviationsRule, AnAlarmEndsAndMayBeginAgain) {
  RankDeviations rule(4, RankDeviations::Measure::Value);
  Norms norms(4, 0.1, Tails::Normal, 1);
  std::vector<int> begins;
  for (int step = 1; step <= 400; ++step) {
    std::vector<double>& values = norms.next();
    const bool bad = (step > 100 && step <= 200) || step > 300;
    if (bad) values[0] += 1;
    for (const RankDeviation& found : rule.observe(values)) {
      EXPECT_EQ(found.rank, 0);
      EXPECT_NEAR(found.difference, 1, 0.5);
      begins.push_back(step);
    }
    if (step == 200 || step == 260) {
      EXPECT_EQ(rule.in_alarm(0), step == 200);
    }
  }
  ASSERT_EQ(begins.size(), 2U);
  EXPECT_LE(begins[0], 110);
  EXPECT_GE(begins[1], 301);
}

TEST(RankDeviationsRule, TwoBadRanksAreBothNamed) {
  RankDeviations rule(6, RankDeviations::Measure::Logarithm);
  Norms norms(6, 0.1, Tails::Normal, 1);
  std::vector<int> named;
  for (int step = 1; step <= 150; ++step) {
    std::vector<double>& values = norms.next();
    if (step > 100) values[1] *= 2, values[4] *= 0.5;
    for (const RankDeviation& found : rule.observe(values)) named.push_back(found.rank);
  }
  std::sort(named.begin(), named.end());
  EXPECT_EQ(named, (std::vector<int>{1, 4}));
}

TEST(RankDeviationsRule, GoesOnFromItsState) {
  for (const int ranks : {2, 3, 4}) {
    RankDeviations whole(ranks, RankDeviations::Measure::Logarithm), resumed = whole;
    Norms norms(ranks, 0.1, Tails::Laplace, 3);
    for (int step = 1; step <= 300; ++step) {
      std::vector<double>& values = norms.next();
      if (step > 140) values[0] *= 1.6;
      if (step == 145) {
        resumed = RankDeviations(ranks, RankDeviations::Measure::Logarithm);
        std::memcpy(resumed.state().data, whole.state().data, whole.state().bytes());
      }
      const auto found = whole.observe(values), again = resumed.observe(values);
      ASSERT_EQ(found.size(), again.size()) << step;
      for (int rank = 0; rank < ranks; ++rank) ASSERT_EQ(whole.sum(rank), resumed.sum(rank)) << step;
    }
    EXPECT_TRUE(whole.in_alarm(0));
  }
}

TEST(RankDeviationsRule, OneRankHasNone) {
  RankDeviations rule(1, RankDeviations::Measure::Value);
  for (int step = 0; step < 100; ++step) {
    const double value = step < 50 ? 1 : 1e9;
    EXPECT_TRUE(rule.observe({&value, 1}).empty());
  }
}

TEST(RankDeviationsRule, AllocatesNothing) {
  RankDeviations rule(4, RankDeviations::Measure::Logarithm);
  TensorDeviations tensors(4, 10);
  SlowRanks slow(4);
  Norms norms(4, 0.1, Tails::Normal, 1);
  const std::vector<double> seconds = {5, 1, 1, 1}, waits = {0, 0, 0, 0};
  const std::int64_t before = allocations_of_this_thread();
  for (int step = 1; step <= 200; ++step) {
    std::vector<double>& values = norms.next();
    if (step > 100) values[2] *= 3;
    rule.observe(values);
    tensors.observe([&](int rank, std::int64_t) { return values[static_cast<std::size_t>(rank)]; });
    slow.observe(seconds, waits, waits);
  }
  EXPECT_EQ(allocations_of_this_thread(), before);
  EXPECT_TRUE(rule.in_alarm(2));
}

struct TensorCase {
  int ranks;
  bool whole;  ///< all tensors of the bad rank are scaled
};

class TensorWorlds : public testing::TestWithParam<TensorCase> {};
INSTANTIATE_TEST_SUITE_P(Cases, TensorWorlds,
                         testing::Values(TensorCase{3, false}, TensorCase{4, false}, TensorCase{8, false},
                                         TensorCase{4, true}),
                         [](const auto& info) {
                           return std::to_string(info.param.ranks) + (info.param.whole ? "_whole" : "_one");
                         });

TEST_P(TensorWorlds, TheTensorIsNamed) {
  const auto [ranks, whole] = GetParam();
  constexpr std::int64_t kTensors = 60, kBad = 17;
  for (unsigned seed = 0; seed < 20; ++seed) {
    TensorDeviations rule(ranks, kTensors);
    std::vector<Norms> norms;
    for (unsigned i = 0; i < kTensors; ++i) norms.emplace_back(ranks, 0.1, Tails::Laplace, 1000 * seed + i);
    bool named = false;
    for (int record = 1; record <= 200 && !named; ++record) {
      std::vector<std::vector<double>> values;
      for (std::int64_t i = 0; i < kTensors; ++i) {
        values.push_back(norms[static_cast<std::size_t>(i)].next());
        if (record > 150 && (whole || i == kBad)) values.back()[1] *= 1.6;
      }
      const auto begun = rule.observe([&](int rank, std::int64_t tensor) {
        return values[static_cast<std::size_t>(tensor)][static_cast<std::size_t>(rank)];
      });
      for (const TensorDeviation& found : begun) {
        named = true;
        EXPECT_GT(record, 150) << "seed " << seed;
        EXPECT_EQ(found.rank, 1) << "seed " << seed;
        if (!whole) {
          EXPECT_EQ(found.tensor, kBad) << "seed " << seed;
          EXPECT_EQ(found.tensors, 1);
          EXPECT_EQ(rule.farthest(1), kBad);
          EXPECT_LE(rule.share_deviating(1), 0.3);
        } else {
          EXPECT_GT(rule.share_deviating(1), 0.8);
        }
      }
    }
    EXPECT_TRUE(named) << "seed " << seed;
  }
}

TEST(TensorDeviationsRule, TwoRanksNameNone) {
  TensorDeviations rule(2, 3);
  for (int record = 0; record < 100; ++record)
    EXPECT_TRUE(
        rule.observe([&](int rank, std::int64_t) { return rank == 0 && record > 50 ? 9.0 : 1.0; }).empty());
}

/// Steps of so many seconds on every rank; `extra(step)` more on rank 2, for which the others wait.
First slow_rank(int ranks, double seconds, const std::function<double(int)>& extra, int steps,
                double preempted = 0) {
  SlowRanks rule(ranks);
  std::mt19937 random(1);
  std::vector<double> step_seconds(static_cast<std::size_t>(ranks)), waits = step_seconds, lost = waits;
  for (int step = 1; step <= steps; ++step) {
    double slowest = 0;
    std::vector<double> busy;
    for (int rank = 0; rank < ranks; ++rank) {
      busy.push_back(seconds * std::uniform_real_distribution<double>(0.9, 1.1)(random));
      if (rank == 1) busy.back() += extra(step);
      if (rank == 1) lost[1] = preempted * extra(step);
      slowest = std::max(slowest, busy.back());
    }
    for (std::size_t rank = 0; rank < busy.size(); ++rank) {
      step_seconds[rank] = slowest;
      waits[rank] = slowest - busy[rank];
    }
    First first{step, {}};
    for (const SlowRank& found : rule.observe(step_seconds, waits, lost)) first.ranks.push_back(found.rank);
    if (!first.ranks.empty()) return first;
  }
  return {};
}

TEST(SlowRanksRule, ARankThatTakesThriceAsLongIsNamed) {
  for (const int ranks : {2, 3, 4, 16}) {
    const First first = slow_rank(
        ranks, 0.1, [](int step) { return step > 30 ? 0.2 : 0.0; }, 100);
    EXPECT_EQ(first.step, 40) << ranks;
    EXPECT_EQ(first.ranks, std::vector<int>{1}) << ranks;
  }
}

TEST(SlowRanksRule, ShortStepsMustCostSomething) {
  const First first = slow_rank(
      4, 0.005, [](int) { return 0.02; }, 100);
  EXPECT_EQ(first.step, 25) << "25 steps of 0.02 s are half a second";
}

TEST(SlowRanksRule, PreemptionIsNoAlarm) {
  EXPECT_EQ(slow_rank(
                4, 0.1, [](int step) { return step % 10 == 0 ? 0.0 : 5.0; }, 1000)
                .step,
            -1)
      << "not in every step";
  EXPECT_EQ(slow_rank(
                4, 0.1, [](int) { return 0.08; }, 1000)
                .step,
            -1)
      << "less than twice as long";
  EXPECT_EQ(slow_rank(
                4, 0.1, [](int) { return 5.0; }, 1000, /*preempted=*/1)
                .step,
            -1)
      << "ready to run, but without a core";
}

TEST(ReplicaDifferenceRule, NamesTheRankAndTheTensors) {
  EXPECT_FALSE(replica_difference(std::vector<std::int64_t>{1, 2, 1, 2, 1, 2}, 3));
  const auto one = replica_difference(std::vector<std::int64_t>{1, 2, 3, 1, 9, 8, 1, 2, 3}, 3);
  ASSERT_TRUE(one);
  EXPECT_EQ(*one, (ReplicaDifference{{1}, true, {1, 2}}));
}

TEST(ReplicaDifferenceRule, EveryTensorHasItsOwnMajority) {
  const auto two = replica_difference(std::vector<std::int64_t>{1, 9, 1, 2, 7, 2, 1, 2}, 4);
  ASSERT_TRUE(two);
  EXPECT_EQ(*two, (ReplicaDifference{{0, 2}, true, {0, 1}}));
}

TEST(ReplicaDifferenceRule, WithoutAMajorityNobodyIsBlamed) {
  const auto pair = replica_difference(std::vector<std::int64_t>{1, 2, 1, 3}, 2);
  ASSERT_TRUE(pair);
  EXPECT_EQ(*pair, (ReplicaDifference{{0, 1}, false, {1}}));
  const auto halves = replica_difference(std::vector<std::int64_t>{5, 5, 6, 6}, 4);
  ASSERT_TRUE(halves);
  EXPECT_EQ(*halves, (ReplicaDifference{{0, 1, 2, 3}, false, {0}}));
}

}  // namespace
}  // namespace plumb::test

// Sums by way of hosts, over whatever path and hosts this run has: bit by bit those of the promised order, in
// any memory; rounded ones against float64. Without a path there is nothing to test here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "comm/communicator.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/rng.h"
#include "ranks.h"

namespace plumb::test {
namespace {

constexpr std::int64_t kMebi = 1 << 20;

double value(std::uint64_t seed, int rank, std::int64_t i) {
  return RandomStream{seed, 0, static_cast<std::uint32_t>(rank)}.uniform(static_cast<std::uint64_t>(i)) - 0.5;
}

/// The ranks of every host, hosts in the order of their lowest rank.
std::vector<std::vector<int>> find_hosts() {
  std::vector<std::vector<int>> result;
  std::map<std::string, std::size_t> place;
  for (int rank = 0; rank < ranks().world(); ++rank) {
    const std::string name =
        path() == Path::Alone ? std::to_string(rank) : ranks().hosts()[static_cast<std::size_t>(rank)];
    if (place.emplace(name, result.size()).second) result.emplace_back();
    result[place[name]].push_back(rank);
  }
  return result;
}
const std::vector<std::vector<int>>& hosts() {
  static const std::vector<std::vector<int>> result = find_hosts();
  return result;
}

/// One host's sum in the order of its ranks.
template <class T>
T sum_of_host(const std::vector<int>& host, std::uint64_t seed, std::int64_t i) {
  T sum = static_cast<T>(value(seed, host.front(), i));
  for (std::size_t k = 1; k < host.size(); ++k) sum += static_cast<T>(value(seed, host[k], i));
  return sum;
}

template <class T>
T expected(std::uint64_t seed, std::int64_t i) {
  const auto& groups = hosts();
  T sum = sum_of_host<T>(groups[0], seed, i);
  for (std::size_t k = 1; k < groups.size(); ++k) sum += sum_of_host<T>(groups[k], seed, i);
  return sum;
}

template <class T>
void fill(T* values, std::int64_t count, std::uint64_t seed) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<T>(value(seed, ranks().rank(), i));
}

template <class T>
Tensor view(T* data, std::int64_t count) {
  return Tensor(data, dtype_of<T>, {count});
}

bool has_same_bits_everywhere(const void* data, std::size_t bytes) {
  std::int64_t both[2];
  both[0] = static_cast<std::int64_t>(hash_bytes(data, bytes));
  both[1] = both[0];
  ranks().all_reduce("lowest hash", Tensor(&both[0], DType::Int64, {1}), ReduceOp::Min);
  ranks().all_reduce("highest hash", Tensor(&both[1], DType::Int64, {1}), ReduceOp::Max);
  return both[0] == both[1];
}

/// With three hosts and more MPI chooses an order between them.
template <class T>
void expect_sum(const T* values, std::int64_t count, std::uint64_t seed) {
  const double tolerance =
      hosts().size() <= 2 ? 0 : 4 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for (std::int64_t i = 0; i < count; ++i)
    ASSERT_NEAR(values[i], expected<T>(seed, i), tolerance) << "element " << i << " of " << count;
}

class ByHost : public testing::Test {
 protected:
  void SetUp() override {
    if (path() == Path::Unchosen) GTEST_SKIP() << "no path of sums is chosen";
  }
};

template <class T>
class SumsByHost : public ByHost {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(SumsByHost, Scalars);

TYPED_TEST(SumsByHost, OfAnySizeHaveTheBitsOfThePromisedOrder) {
  const std::int64_t mebi = kMebi / static_cast<std::int64_t>(sizeof(TypeParam));
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{1}, std::int64_t{7}, std::int64_t{1001},
                                   mebi / 4, mebi / 4 + 1, mebi + 3, 3 * mebi + 77}) {
    std::vector<TypeParam> values(static_cast<std::size_t>(count) + 1, TypeParam{99});
    fill(values.data(), count, 1);
    ranks().all_reduce("sum", view(values.data(), count), ReduceOp::Sum);
    expect_sum(values.data(), count, 1);
    EXPECT_EQ(values.back(), 99) << "behind the end";
    EXPECT_TRUE(has_same_bits_everywhere(values.data(), values.size() * sizeof(TypeParam))) << count;
  }
}

TYPED_TEST(SumsByHost, WhereMemoryIsSharedNeedNoOtherPlace) {
  const std::int64_t mebi = kMebi / static_cast<std::int64_t>(sizeof(TypeParam));
  const std::int64_t room = 9 * mebi;
  const auto memory = ranks().allocate("shared", static_cast<std::size_t>(room) * sizeof(TypeParam));
  if (path() == Path::Alone) {
    EXPECT_EQ(memory, nullptr);
    return;
  }
  ASSERT_NE(memory, nullptr);
  auto* values = static_cast<TypeParam*>(memory.get());
  EXPECT_EQ(std::count(values, values + room, 0), room) << "zero-filled";
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(values) % 64, 0U);
  std::fill_n(values, room, TypeParam{99});
  // Odd places and sizes, several under way at a time.
  const std::vector<std::pair<std::int64_t, std::int64_t>> parts = {
      {1, 1}, {3, 1000}, {1003, 0}, {1003, mebi - 5}, {mebi + 1000, 4 * mebi + 13}, {6 * mebi, 2 * mebi}};
  std::vector<Communicator::Request> requests;
  for (const auto& [offset, count] : parts) {
    fill(values + offset, count, static_cast<std::uint64_t>(offset));
    requests.push_back(ranks().start_all_reduce("part", view(values + offset, count)));
  }
  for (auto& request : requests) ranks().wait(request);
  for (const auto& [offset, count] : parts)
    expect_sum(values + offset, count, static_cast<std::uint64_t>(offset));
  for (const std::int64_t between : {std::int64_t{0}, std::int64_t{2}, mebi + 999, room - 1})
    EXPECT_EQ(values[between], 99) << "element " << between;
}

TEST_F(ByHost, MemoryThatAllHaveLetGoOfIsGivenBack) {
  if (path() == Path::Alone) return;
  auto first = ranks().allocate("first", 4000), second = ranks().allocate("second", 4000);
  ASSERT_NE(second, nullptr);
  first.reset();
  const auto third = ranks().allocate("third", 1000);
  ASSERT_NE(third, nullptr);
  for (void* memory : {second.get(), third.get()}) {
    fill(static_cast<float*>(memory), 250, 5);
    ranks().all_reduce("in what is left", view(static_cast<float*>(memory), 250), ReduceOp::Sum);
    expect_sum(static_cast<float*>(memory), 250, 5);
  }
}

TEST_F(ByHost, AllKindsMixOnRanksOutOfStep) {
  const auto memory = ranks().allocate("shared", 2 * kMebi);
  constexpr int kRounds = 6;  // 4 requests are reserved
  std::vector<std::vector<float>> own(kRounds, std::vector<float>(kMebi / 4));
  std::vector<float> shared(kMebi / 2);
  float* in_memory = memory ? static_cast<float*>(memory.get()) : shared.data();
  fill(in_memory, kMebi / 2, 100);
  std::vector<Communicator::Request> requests;
  for (int round = 0; round < kRounds; ++round) {
    if (round % ranks().world() == ranks().rank()) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    auto& values = own[static_cast<std::size_t>(round)];
    fill(values.data(), std::ssize(values), static_cast<std::uint64_t>(round));
    requests.push_back(ranks().start_all_reduce("ordinary", view(values.data(), std::ssize(values))));
    std::int32_t one = 1;
    if (round == 2) requests.push_back(ranks().start_all_reduce("shared", view(in_memory, kMebi / 2)));
    if (round == 3) ranks().barrier("in between");
    if (round == 4) ranks().all_reduce("integers", view(&one, 1), ReduceOp::Sum);
    EXPECT_EQ(one, round == 4 ? ranks().world() : 1);
  }
  for (auto& request : requests) ranks().wait(request);
  for (int round = 0; round < kRounds; ++round)
    expect_sum(own[static_cast<std::size_t>(round)].data(), kMebi / 4, static_cast<std::uint64_t>(round));
  expect_sum(in_memory, kMebi / 2, 100);
}

float rounded(float value) { return static_cast<float>(bfloat16(value)); }

TEST_F(ByHost, RoundedSumsAreRoundedOncePerHostAndOnceInAll) {
  const auto& groups = hosts();
  EXPECT_EQ(ranks().rounds(), groups.size() > 1);
  const std::int64_t count = 2 * kMebi / 4 + 37;
  const auto memory = ranks().allocate("shared", static_cast<std::size_t>(count) * 4);
  std::vector<float> ordinary(static_cast<std::size_t>(count));
  std::vector<float*> places = {ordinary.data()};
  if (memory) places.push_back(static_cast<float*>(memory.get()));
  for (float* values : places) {
    // The small ones are padded to whole hosts, and reuse what the large one left behind.
    for (const std::int64_t size : {count, std::int64_t{1}, std::int64_t{33}}) {
      fill(values, size, 9);
      auto request = ranks().start_rounded_all_reduce("rounded", view(values, size));
      ranks().wait(request);
      double error = 0, norm = 0;
      for (std::int64_t i = 0; i < size; ++i) {
        float sum = 0;
        double exact = 0, bound = 0;
        for (std::size_t k = 0; k < groups.size(); ++k) {
          const float of_host = sum_of_host<float>(groups[k], 9, i);
          const float brought = groups.size() > 1 ? rounded(of_host) : of_host;
          sum = k == 0 ? brought : sum + brought;
          for (const int rank : groups[k])
            exact += static_cast<double>(static_cast<float>(value(9, rank, i)));
          bound += std::abs(of_host);
        }
        const float whole = groups.size() > 1 ? rounded(sum) : sum;
        ASSERT_EQ(values[i], whole) << "element " << i << " of " << size;
        // Half a unit in the last of 8 bits, 2^-8 at most, for each host's sum and for the result; 1e-6
        // covers fp32's own.
        constexpr double kHalfUnit = 1.0 / 256;
        ASSERT_LE(std::abs(values[i] - exact), kHalfUnit * (bound + std::abs(exact)) * 1.01 + 1e-6);
        error += std::pow(values[i] - exact, 2);
        norm += exact * exact;
      }
      EXPECT_TRUE(has_same_bits_everywhere(values, static_cast<std::size_t>(size) * 4));
      if (size == count && ranks().rank() == 0)
        std::printf("%zu hosts: rounded sums are off by %.2e of their 2-norm\n", groups.size(),
                    std::sqrt(error / norm));
    }
  }
}

TEST_F(ByHost, RoundedSumsKeepWhatIsNotFinite) {
  std::vector<float> values = {1, 2, 3, 4};
  if (ranks().rank() == ranks().world() - 1) {
    values[1] = std::numeric_limits<float>::quiet_NaN();
    values[2] = std::numeric_limits<float>::infinity();
  }
  auto request = ranks().start_rounded_all_reduce("not finite", view(values.data(), 4));
  ranks().wait(request);
  EXPECT_EQ(values[0], static_cast<float>(ranks().world()));
  EXPECT_TRUE(std::isnan(values[1]));
  EXPECT_EQ(values[2], std::numeric_limits<float>::infinity());
}

TEST_F(ByHost, ALateRankIsNamed) {
  Communicator& comm = ranks();
  const int late = comm.world() - 1;
  const double usual = comm.deadline();
  std::vector<float> values(1000);
  fill(values.data(), 1000, 3);
  comm.barrier("before the late one");
  if (comm.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(4000));
  auto request = comm.start_all_reduce("gradient bucket 0", view(values.data(), 1000));
  if (comm.rank() == 0) {
    comm.set_deadline(2);
    EXPECT_THAT(
        [&] { comm.wait(request); },
        testing::ThrowsMessage<Error>(testing::AllOf(
            testing::HasSubstr("'gradient bucket 0' (all_reduce"), testing::HasSubstr(" 0 of 1 chunks"),
            testing::HasSubstr(fmt::format("nothing was heard of rank {}", late)))));
    comm.set_deadline(usual);
  }
  // It does come, and all go on.
  comm.wait(request);
  expect_sum(values.data(), 1000, 3);
}

TEST_F(ByHost, ThePathIsChosenOnce) {
  EXPECT_THROW(ranks().choose_sum_path({}), Error);
  EXPECT_THAT(
      [] {
        double one = 1;
        ranks().start_rounded_all_reduce("doubles", view(&one, 1));
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("'doubles': sums of fp32")));
}

}  // namespace
}  // namespace plumb::test

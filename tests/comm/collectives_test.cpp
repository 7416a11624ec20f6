// Collectives over several ranks against closed forms; sizes around and beyond one chunk of 1 MiB.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.h"
#include "comm/gather_texts.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/rng.h"
#include "ranks.h"

namespace plumb::test {
namespace {
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kChunk = (1 << 20) / 4;  // fp32 elements

template <class T>
Tensor view(std::vector<T>& values) {
  return Tensor(values.data(), dtype_of<T>, {static_cast<std::int64_t>(values.size())});
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// (rank + 1) * (i % 1000 + 1): sums over up to 16 ranks are exact in fp32.
template <class T>
std::vector<T> ramp(std::int64_t n, int factor) {
  std::vector<T> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<T>(factor * (static_cast<int>(i % 1000) + 1));
  return values;
}

int triangle(int world) { return world * (world + 1) / 2; }

template <class T>
class AllReduce : public testing::Test {};
using Scalars = testing::Types<double, float, std::int64_t, std::int32_t>;
TYPED_TEST_SUITE(AllReduce, Scalars);

TYPED_TEST(AllReduce, SumMaxMinAtSizesThatAreNotMultiplesOfTheChunk) {
  Communicator& comm = ranks();
  for (const std::int64_t n :
       {std::int64_t{1}, std::int64_t{7}, kChunk - 1, kChunk, kChunk + 1, 7 * kChunk + 13}) {
    auto values = ramp<TypeParam>(n, comm.rank() + 1);
    comm.all_reduce("sum", view(values), ReduceOp::Sum);
    EXPECT_EQ(values, ramp<TypeParam>(n, triangle(comm.world()))) << n;
    values = ramp<TypeParam>(n, comm.rank() + 1);
    comm.all_reduce("max", view(values), ReduceOp::Max);
    EXPECT_EQ(values, ramp<TypeParam>(n, comm.world())) << n;
    values = ramp<TypeParam>(n, comm.rank() + 1);
    comm.all_reduce("min", view(values), ReduceOp::Min);
    EXPECT_EQ(values, ramp<TypeParam>(n, 1)) << n;
  }
}

TEST(GatherTexts, OfUnlikeLengthsReachEveryRankInOrder) {
  const auto text_of = [](int rank) {
    return rank == 1 ? ""
                     : std::string(static_cast<std::size_t>(7 * rank + 1), static_cast<char>('a' + rank));
  };
  const std::vector<std::string> texts = gather_texts(ranks(), "names", text_of(ranks().rank()));
  ASSERT_EQ(texts.size(), static_cast<std::size_t>(ranks().world()));
  for (int rank = 0; rank < ranks().world(); ++rank)
    EXPECT_EQ(texts[static_cast<std::size_t>(rank)], text_of(rank));
  for (const std::string& text : gather_texts(ranks(), "nothing", "")) EXPECT_EQ(text, "");
}

TEST(Collectives, MaximumAndMinimumKeepNaN) {
  Communicator& comm = ranks();
  for (int culprit = 0; culprit < comm.world(); ++culprit) {
    for (const ReduceOp op : {ReduceOp::Max, ReduceOp::Min}) {
      std::vector<float> values = {comm.rank() == culprit ? std::numeric_limits<float>::quiet_NaN() : 1.0F,
                                   2.0F};
      comm.all_reduce("extremum", view(values), op);
      EXPECT_TRUE(std::isnan(values[0])) << culprit;
      EXPECT_EQ(values[1], 2.0F);
      std::vector<double> zeros = {comm.rank() == culprit ? -0.0 : 0.0};
      comm.all_reduce("extremum of zeros", view(zeros), op);
      EXPECT_EQ(std::signbit(zeros[0]), op == ReduceOp::Min) << culprit;
    }
  }
}

TEST(Collectives, AllGatherReduceScatterBroadcast) {
  Communicator& comm = ranks();
  const int world = comm.world();
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{1000}, 2 * kChunk + 5}) {
    auto own = ramp<float>(n, comm.rank() + 1);
    std::vector<float> all(static_cast<std::size_t>(n * world));
    comm.all_gather("gather", view(own), Tensor(all.data(), DType::Float32, {world, n}));
    for (int r = 0; r < world; ++r) {
      const std::vector<float> row(all.begin() + r * n, all.begin() + (r + 1) * n);
      EXPECT_EQ(row, ramp<float>(n, r + 1));
    }
    // Row r of every rank is (rank + 1) * (r + 1) * ramp; its sum is triangle * (r + 1) * ramp.
    for (int r = 0; r < world; ++r) {
      const auto row = ramp<float>(n, (comm.rank() + 1) * (r + 1));
      std::copy(row.begin(), row.end(), all.begin() + r * n);
    }
    comm.reduce_scatter("scatter", Tensor(all.data(), DType::Float32, {world, n}), view(own));
    EXPECT_EQ(own, ramp<float>(n, triangle(world) * (comm.rank() + 1)));
    for (int root = 0; root < world; ++root) {
      own = ramp<float>(n, comm.rank() + 1);
      comm.broadcast("broadcast", view(own), root);
      EXPECT_EQ(own, ramp<float>(n, root + 1));
    }
  }
}

/// Rows of the ranks in place: (rank + 1) * (r + 1) * ramp in row r.
std::vector<float> rows_of(int rank, std::int64_t n) {
  std::vector<float> all;
  for (int r = 0; r < ranks().world(); ++r) {
    const auto row = ramp<float>(n, (rank + 1) * (r + 1));
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

TEST(RowsInPlace, SumsReachTheirOwnersAndGoFromThereToAll) {
  Communicator& comm = ranks();
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{1000}, kChunk, 2 * kChunk + 5}) {
    std::vector<float> all = rows_of(comm.rank(), n);
    const Tensor tensor(all.data(), DType::Float32, {comm.world(), n});
    auto request = comm.start_reduce_scatter("to owners", tensor);
    comm.wait(request);
    const std::vector<float> own(all.begin() + comm.rank() * n, all.begin() + (comm.rank() + 1) * n);
    ASSERT_EQ(own, ramp<float>(n, triangle(comm.world()) * (comm.rank() + 1))) << n;
    // Nothing is promised of the other rows: they must not matter.
    for (int r = 0; r < comm.world(); ++r)
      if (r != comm.rank()) std::fill_n(all.begin() + r * n, n, std::nanf(""));
    request = comm.start_all_gather("from owners", tensor);
    comm.wait(request);
    for (int r = 0; r < comm.world(); ++r) {
      const std::vector<float> row(all.begin() + r * n, all.begin() + (r + 1) * n);
      ASSERT_EQ(row, ramp<float>(n, triangle(comm.world()) * (r + 1))) << n << " row " << r;
    }
  }
}

TEST(RowsInPlace, ManyOfThemFinishInOrderOnRanksOutOfStep) {
  Communicator& comm = ranks();
  constexpr int kRequests = 9;  // 4 are reserved
  const std::int64_t sizes[] = {7, kChunk + 3, 500};
  std::vector<std::vector<float>> values;
  std::vector<Communicator::Request> requests;
  for (int k = 0; k < kRequests; ++k) values.push_back(rows_of(comm.rank(), sizes[k % 3]));
  for (int k = 0; k < kRequests; ++k) {
    if (k % comm.world() == comm.rank()) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    requests.push_back(comm.start_reduce_scatter("to owners", view(values[static_cast<std::size_t>(k)])));
    comm.progress();
  }
  std::vector<std::int32_t> one = {1};
  comm.all_reduce("in between", view(one), ReduceOp::Sum);
  EXPECT_EQ(one[0], comm.world());
  for (auto request = requests.rbegin(); request != requests.rend(); ++request) comm.wait(*request);
  requests.clear();
  for (auto& rows : values) requests.push_back(comm.start_all_gather("from owners", view(rows)));
  for (auto request = requests.rbegin(); request != requests.rend(); ++request) comm.wait(*request);
  for (int k = 0; k < kRequests; ++k) {
    std::vector<float> sums;
    for (int r = 0; r < comm.world(); ++r) {
      const auto row = ramp<float>(sizes[k % 3], triangle(comm.world()) * (r + 1));
      sums.insert(sums.end(), row.begin(), row.end());
    }
    EXPECT_EQ(values[static_cast<std::size_t>(k)], sums) << k;
  }
}

TEST(RowsInPlace, SumsOfRealNumbersAreTheSameEveryTime) {
  Communicator& comm = ranks();
  const std::int64_t n = comm.world() * (kChunk + 100);
  const RandomStream random{17, static_cast<std::uint32_t>(comm.rank()), 0};
  std::vector<float> values(static_cast<std::size_t>(n)), first;
  for (int run = 0; run < 3; ++run) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random.normal(i));
    auto request = comm.start_reduce_scatter("sum", view(values));
    comm.wait(request);
    request = comm.start_all_gather("sums", view(values));
    comm.wait(request);
    if (run == 0) first = values;
    EXPECT_EQ(values, first);
  }
}

TEST(RowsInPlace, ThatDoNotDivideAreRefused) {
  std::vector<float> values(static_cast<std::size_t>(ranks().world() * 3 + 1));
  EXPECT_THAT([&] { ranks().start_reduce_scatter("uneven", view(values)); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("'uneven'")));
  EXPECT_THAT([&] { ranks().start_all_gather("uneven", view(values)); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("'uneven'")));
}

TEST(Collectives, EveryRankKnowsWhereTheOthersAre) {
  Communicator& comm = ranks();
  ASSERT_EQ(static_cast<int>(comm.hosts().size()), comm.world());
  EXPECT_EQ(comm.hosts()[static_cast<std::size_t>(comm.rank())], process_identity().host);
  EXPECT_EQ(process_identity().rank, comm.rank());
  EXPECT_EQ(process_identity().world, comm.world());
  if (pretended_hosts() > 0) {
    EXPECT_EQ(process_identity().host, fmt::format("host {}", comm.rank() % pretended_hosts()));
    EXPECT_EQ(comm.local_rank(), comm.rank() / pretended_hosts());
    return;
  }
  // mpirun starts all ranks of this test on one host.
  EXPECT_EQ(comm.local_size(), comm.world());
  EXPECT_EQ(comm.local_rank(), comm.rank());
}

TEST(Collectives, BarrierHoldsEveryoneUntilTheLastOneComes) {
  Communicator& comm = ranks();
  comm.barrier("together");
  const auto begin = Clock::now();
  if (comm.rank() == comm.world() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  comm.barrier("the last one is late");
  EXPECT_GT(seconds_since(begin), 0.15);
}

TEST(Collectives, SumsOfRealNumbersHaveTheSameBitsOnAllRanksAndEveryTime) {
  Communicator& comm = ranks();
  for (const std::int64_t n : {std::int64_t{33}, 3 * kChunk + 77}) {
    std::vector<std::int64_t> hashes(2);
    for (std::int64_t& hash : hashes) {
      std::vector<float> values(static_cast<std::size_t>(n));
      const RandomStream stream{17, 0, static_cast<std::uint32_t>(comm.rank())};
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = stream.uniform(i) - 0.5F;
      comm.all_reduce("real numbers", view(values), ReduceOp::Sum);
      hash = static_cast<std::int64_t>(hash_bytes(values.data(), values.size() * sizeof(float)));
    }
    EXPECT_EQ(hashes[0], hashes[1]);
    std::vector<std::int64_t> lowest = hashes, highest = hashes;
    comm.all_reduce("lowest hash", view(lowest), ReduceOp::Min);
    comm.all_reduce("highest hash", view(highest), ReduceOp::Max);
    EXPECT_EQ(lowest, highest);
  }
}

TEST(Asynchronous, ProgressAloneCompletesAReduction) {
  Communicator& comm = ranks();
  auto values = ramp<float>(9 * kChunk + 1, comm.rank() + 1);
  const float expected = ramp<float>(9 * kChunk + 1, triangle(comm.world())).back();
  auto request = comm.start_all_reduce("overlapped", view(values));
  const auto begin = Clock::now();
  // Reads through volatile: the library writes behind the compiler's back.
  const volatile float* last = &values.back();
  while (*last != expected && seconds_since(begin) < 20) {
    comm.progress();
    std::this_thread::yield();
  }
  EXPECT_EQ(*last, expected);
  comm.wait(request);
  EXPECT_EQ(values, ramp<float>(9 * kChunk + 1, triangle(comm.world())));
  EXPECT_TRUE(comm.poll(request));
}

TEST(Asynchronous, BlockingCallsAndMoreRequestsThanReservedMixOnRanksOutOfStep) {
  Communicator& comm = ranks();
  constexpr int kRequests = 11;  // 4 are reserved
  std::vector<std::vector<double>> values;
  std::vector<Communicator::Request> requests;
  for (int k = 0; k < kRequests; ++k)
    values.push_back(ramp<double>(kChunk / 2 * (k % 3) + 1 + k, comm.rank() + k));
  for (int k = 0; k < kRequests; ++k) {
    if (k % comm.world() == comm.rank()) std::this_thread::sleep_for(std::chrono::milliseconds(3));
    requests.push_back(comm.start_all_reduce("one of many", view(values[static_cast<std::size_t>(k)])));
    if (k % 4 == 1) {
      std::vector<std::int32_t> one = {1};
      comm.all_reduce("in between", view(one), ReduceOp::Sum);
      EXPECT_EQ(one[0], comm.world());
    }
  }
  for (int k = kRequests - 1; k >= 0; --k) {
    comm.wait(requests[static_cast<std::size_t>(k)]);
    const auto& reduced = values[static_cast<std::size_t>(k)];
    const int factor = triangle(comm.world()) + comm.world() * (k - 1);
    EXPECT_EQ(reduced, ramp<double>(static_cast<std::int64_t>(reduced.size()), factor)) << k;
  }
}

TEST(Asynchronous, EmptyTensorsAreFinishedAtOnce) {
  auto request = ranks().start_all_reduce("nothing", Tensor(nullptr, DType::Float32, {0}));
  EXPECT_TRUE(ranks().poll(request));
  Communicator::Request none;
  EXPECT_TRUE(ranks().poll(none));
}

TEST(Errors, UnsuitableTensorsAreRefusedByName) {
  Communicator& comm = ranks();
  std::vector<float> values(12);
  EXPECT_THAT([&] { comm.all_reduce("halves", Tensor(values.data(), DType::BFloat16, {12}), ReduceOp::Sum); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("'halves': bf16")));
  EXPECT_THAT(
      [&] {
        comm.all_reduce("columns", Tensor(values.data(), DType::Float32, {3, 4}).columns(1, 2),
                        ReduceOp::Sum);
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("'columns'")));
  EXPECT_THAT([&] { comm.all_gather("too small", view(values), view(values)); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("'too small'")));
  EXPECT_THAT([&] { comm.broadcast("no such root", view(values), comm.world()); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("'no such root'")));
}

TEST(Errors, AMissedDeadlineNamesTheCollectiveTheRanksAndTheHosts) {
  Communicator& comm = ranks();
  const int late = comm.world() - 1;
  const double usual = comm.deadline();
  comm.barrier("before the late one");
  if (comm.rank() == late) {
    std::this_thread::sleep_for(std::chrono::milliseconds(4000));
    comm.barrier("the late one");
  } else if (comm.rank() > 0) {
    comm.set_deadline(2);
    // Rank 0, which waits in it too, is left to say what is wrong.
    EXPECT_NO_THROW(comm.barrier("the late one"));
    comm.set_deadline(usual);
  } else {
    comm.set_deadline(2);
    const auto begin = Clock::now();
    try {
      comm.barrier("the late one");
      ADD_FAILURE() << "no deadline";
    } catch (const Error& error) {
      const std::string text = error.what();
      const std::string& host = comm.hosts()[0];
      EXPECT_THAT(text, testing::HasSubstr("'the late one' (barrier"));
      EXPECT_THAT(text, testing::HasSubstr(
                            fmt::format("on rank {} of {} (host {})", comm.rank(), comm.world(), host)));
      EXPECT_THAT(text, testing::HasSubstr(fmt::format("nothing was heard of rank {} (host {})", late,
                                                       comm.hosts()[static_cast<std::size_t>(late)])));
      if (comm.world() == 3) {
        EXPECT_THAT(text, testing::HasSubstr("rank 1 waits in it too"));
      }
    }
    EXPECT_LT(seconds_since(begin), 3.8);
    comm.set_deadline(usual);
  }
  // The late rank did come, so the ranks are in step again.
  std::vector<std::int32_t> one = {1};
  comm.all_reduce("in step again", view(one), ReduceOp::Sum);
  EXPECT_EQ(one[0], comm.world());
}

}  // namespace
}  // namespace plumb::test

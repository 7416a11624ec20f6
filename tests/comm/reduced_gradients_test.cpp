// GradientReducer over several ranks: every element of every bucket has the known sum.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "comm/gradient_reducer.h"
#include "comm/shards.h"
#include "core/rng.h"
#include "ranks.h"

namespace plumb::test {
namespace {

/// Tensors of many sizes, each padded to 16 elements, of which one is larger than a bucket and a chunk.
std::vector<TensorSpan> uneven_tensors() {
  std::vector<TensorSpan> tensors;
  std::int64_t offset = 0;
  for (int i = 0; i < 23; ++i) {
    const std::int64_t count = i == 11 ? 600'001 : 1 + 977 * i % 4001;
    tensors.push_back({"tensor " + std::to_string(i), offset, count});
    offset += (count + 15) / 16 * 16;
  }
  return tensors;
}

/// Small integers, so that sums are exact: different for each step, rank and element.
double gradient_at(int step, int rank, std::size_t i) {
  return (rank + 1) * static_cast<double>(i % 251) + step;
}

template <class T>
void fill(std::vector<T>& flat, int step, int rank) {
  for (std::size_t i = 0; i < flat.size(); ++i) flat[i] = static_cast<T>(gradient_at(step, rank, i));
}

std::vector<int> shuffled(int n, std::uint64_t seed) {
  std::vector<int> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const RandomStream stream{seed, 0, 0};
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[stream.word(i) % i]);
  return order;
}

template <class T>
class ReducedGradients : public testing::Test {};
using Scalars = testing::Types<float, double>;
TYPED_TEST_SUITE(ReducedGradients, Scalars);

TYPED_TEST(ReducedGradients, AreTheSumOverRanksWhateverTheOrderOfTheMarks) {
  Communicator& comm = ranks();
  auto layout = make_buckets(uneven_tensors(), 40'000, dtype_of<TypeParam>);
  ASSERT_GT(layout.buckets.size(), 4U);
  const TensorSpan last = layout.tensors.back();
  std::vector<TypeParam> flat(static_cast<std::size_t>(last.offset + last.count));
  std::vector<int> calls(layout.buckets.size());
  int step = 0;
  GradientReducer reducer(comm, layout, Tensor(flat.data(), dtype_of<TypeParam>, {std::ssize(flat)}),
                          [&](int bucket) {
                            ++calls[static_cast<std::size_t>(bucket)];
                            const Bucket& its = layout.buckets[static_cast<std::size_t>(bucket)];
                            for (auto i = static_cast<std::size_t>(its.offset);
                                 i < static_cast<std::size_t>(its.offset + its.count); ++i) {
                              ASSERT_EQ(flat[i], static_cast<TypeParam>(gradient_at(step, comm.rank(), i)))
                                  << "reduced before the callback";
                            }
                          });
  for (step = 1; step <= 3; ++step) {
    fill(flat, step, comm.rank());
    reducer.begin_step();
    // Another order on every rank: buckets must pair all the same.
    for (const int tensor : shuffled(static_cast<int>(layout.tensors.size()),
                                     static_cast<std::uint64_t>(step * 100 + comm.rank()))) {
      reducer.mark_ready(tensor);
      reducer.progress();
    }
    reducer.finish();
    for (const TensorSpan& span : layout.tensors) {
      for (auto i = static_cast<std::size_t>(span.offset);
           i < static_cast<std::size_t>(span.offset + span.count); ++i) {
        double sum = 0;
        for (int r = 0; r < comm.world(); ++r) sum += gradient_at(step, r, i);
        ASSERT_EQ(flat[i], static_cast<TypeParam>(sum))
            << "step " << step << ' ' << span.name << " element " << i;
      }
    }
    EXPECT_EQ(calls, std::vector<int>(layout.buckets.size(), step));
    EXPECT_GE(reducer.take_wait_seconds(), 0);
    EXPECT_EQ(reducer.take_wait_seconds(), 0) << "asked for already";
  }
}

/// The same tensors at places that divide between any of the worlds of these tests.
std::vector<TensorSpan> divisible_tensors(std::int64_t* end) {
  std::vector<TensorSpan> tensors = uneven_tensors();
  *end = 0;
  for (TensorSpan& span : tensors) {
    span.offset = *end;
    *end += (span.count + 191) / 192 * 192;
  }
  return tensors;
}

TEST(ReducedGradients, ReachTheirOwnersAndThenAll) {
  Communicator& comm = ranks();
  std::int64_t elements = 0;
  GradientLayout layout = make_buckets(divisible_tensors(&elements), 40'000, DType::Float32);
  layout = shard_buckets(std::move(layout), elements, comm.world());
  ASSERT_GT(layout.buckets.size(), 4U);
  const Shards shards(layout, comm.rank(), comm.world());
  std::vector<float> flat(static_cast<std::size_t>(elements));
  GradientReducer reducer(comm, layout, Tensor(flat.data(), DType::Float32, {elements}));
  for (int step = 1; step <= 3; ++step) {
    fill(flat, step, comm.rank());
    reducer.begin_step();
    for (const int tensor : shuffled(static_cast<int>(layout.tensors.size()),
                                     static_cast<std::uint64_t>(step * 100 + comm.rank()))) {
      reducer.mark_ready(tensor);
      reducer.progress();
    }
    reducer.finish();
    const auto expect_sums = [&](std::int64_t begin, std::int64_t count) {
      for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(begin + count); ++i) {
        double sum = 0;
        for (int r = 0; r < comm.world(); ++r) sum += gradient_at(step, r, i);
        ASSERT_EQ(flat[i], static_cast<float>(sum)) << "step " << step << " element " << i;
      }
    };
    for (std::size_t t = 0; t < layout.tensors.size(); ++t)
      expect_sums(layout.tensors[t].offset + shards.parts()[t].begin, shards.parts()[t].count);
    reducer.gather();
    for (const TensorSpan& span : layout.tensors) expect_sums(span.offset, span.count);
  }
}

TEST(ReducedGradientsOverlap, TheFirstBucketIsReducedWhileBackwardGoesOn) {
  Communicator& comm = ranks();
  std::vector<float> flat(1000, static_cast<float>(comm.rank() + 1));
  GradientReducer reducer(comm, make_buckets({{"early", 0, 600}, {"late", 600, 400}}, 2400, DType::Float32),
                          Tensor(flat.data(), DType::Float32, {1000}));
  reducer.begin_step();
  reducer.mark_ready(0);
  EXPECT_EQ(reducer.started_buckets(), 1);
  const float sum = static_cast<float>(comm.world() * (comm.world() + 1) / 2);
  const volatile float* first = flat.data();
  for (int i = 0; i < 10'000'000 && *first != sum; ++i) reducer.progress();
  EXPECT_EQ(*first, sum);
  EXPECT_EQ(flat[600], static_cast<float>(comm.rank() + 1));
  reducer.mark_ready(1);
  reducer.finish();
  EXPECT_EQ(flat, std::vector<float>(1000, sum));
}

}  // namespace
}  // namespace plumb::test

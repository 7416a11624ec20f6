// Atomic functions and fences against plain loops.
#include <numeric>

#include "device_test.h"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

class Atomics : public InEveryOrder {};
PLUMB_IN_EVERY_ORDER(Atomics);

template <class T>
concept CanAddAtomically = requires(T* address, T value) {
  atomicAdd(address, value);
};
template <class T>
concept CanExchangeAtomically = requires(T* address, T value) {
  atomicExch(address, value);
};

// Sums whose order changes from run to run are not ours.
static_assert(!CanAddAtomically<float> && !CanAddAtomically<double> && !CanAddAtomically<__half> &&
              !CanAddAtomically<__nv_bfloat162> && !CanExchangeAtomically<float>);
static_assert(CanAddAtomically<int> && CanAddAtomically<unsigned> && CanAddAtomically<unsigned long long>);

TEST_P(Atomics, Histogram) {
  std::vector<int> x;
  std::vector<unsigned> counts(10, 0), expected(10, 0);
  for (int i = 0; i < 1000; ++i) x.push_back(i * i % 10);
  for (const int one : x) ++expected[static_cast<std::size_t>(one)];
  run(dim3(8), dim3(128), 0, histogram, x.data(), 1000, counts.data());
  EXPECT_EQ(counts, expected);
}

template <class T>
void expect_combinations() {
  constexpr T kThreads = 96;
  const std::vector<T> start{5, 5, 200, 50, 50, 127, 64, 3};
  std::vector<T> cells = start, old(8);
  run(dim3(1), dim3(kThreads), 0, combine_atomically<T>, cells.data(), old.data());
  T sum = 0, conjunction = 127, disjunction = 64, exclusive = 3;
  for (T i = 0; i < kThreads; ++i) {
    sum = static_cast<T>(sum + i);
    conjunction = static_cast<T>(conjunction & (i | 1));
    disjunction = static_cast<T>(disjunction | i);
    exclusive = static_cast<T>(exclusive ^ i);
  }
  EXPECT_EQ(cells[0], 5 + sum);
  EXPECT_EQ(cells[1], static_cast<T>(5 - sum));
  EXPECT_LT(cells[2], kThreads);
  EXPECT_EQ(cells[3], T{0});
  EXPECT_EQ(cells[4], static_cast<T>(kThreads - 1));
  EXPECT_EQ(cells[5], conjunction);
  EXPECT_EQ(cells[6], disjunction);
  EXPECT_EQ(cells[7], exclusive);
  // What thread 0 found: the start, changed by those before it.
  if (emulation::settings().order == emulation::Order::Forward) {
    EXPECT_EQ(old, start);
  }
}

TEST_P(Atomics, EveryCombination) {
  expect_combinations<int>();
  expect_combinations<unsigned>();
  expect_combinations<unsigned long long>();
}

TEST_P(Atomics, CountersThatWrap) {
  unsigned up = 0, down = 3, expected_up = 0, expected_down = 3;
  run(dim3(1), dim3(50), 0, count_up_and_down, &up, &down, 6U);
  for (int i = 0; i < 50; ++i) {
    expected_up = expected_up >= 6 ? 0 : expected_up + 1;
    expected_down = expected_down == 0 || expected_down > 6 ? 6 : expected_down - 1;
  }
  EXPECT_EQ(up, expected_up);
  EXPECT_EQ(down, expected_down);
}

TEST_P(Atomics, CompareAndSwapHasOneWinner) {
  int cell = -1, winners = 0;
  run(dim3(2), dim3(64), 0, compare_and_swap, &cell, &winners);
  EXPECT_EQ(winners, 1);
  EXPECT_GE(cell, 0);
}

TEST_P(Atomics, LastBlockSeesAll) {
  std::vector<float> partials(17, -1);
  unsigned ticket = 0;
  float sum = 0;
  run(dim3(17), dim3(32), 0, last_block_sums, partials.data(), &ticket, &sum);
  EXPECT_EQ(sum, 17 * 18 / 2);
}

}  // namespace
}  // namespace plumb::test

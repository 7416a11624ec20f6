// Indices of threads and blocks, the orders in which they run, and how orders are chosen.
#include <algorithm>
#include <set>

#include "device_test.h"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

using emulation::Order;
using emulation::parse_settings;
using emulation::Settings;

class Threads : public InEveryOrder {};
PLUMB_IN_EVERY_ORDER(Threads);

TEST_P(Threads, KnowTheirPlaces) {
  const dim3 grid(3, 2, 2), block(5, 4, 3);
  std::vector<unsigned> places(12 * 60 * 12);
  run(grid, block, 0, write_places, places.data());
  std::size_t at = 0;
  for (unsigned bz = 0; bz < 2; ++bz)
    for (unsigned by = 0; by < 2; ++by)
      for (unsigned bx = 0; bx < 3; ++bx)
        for (unsigned z = 0; z < 3; ++z)
          for (unsigned y = 0; y < 4; ++y)
            for (unsigned x = 0; x < 5; ++x) {
              const std::vector<unsigned> expected{x, y, z, bx, by, bz, 5, 4, 3, 3, 2, 2};
              const std::vector<unsigned> found(places.begin() + static_cast<std::ptrdiff_t>(at),
                                                places.begin() + static_cast<std::ptrdiff_t>(at + 12));
              ASSERT_EQ(found, expected);
              at += 12;
            }
}

TEST_P(Threads, AllRunOnce) {
  for (const unsigned threads : {1U, 31U, 32U, 33U, 100U, 1024U}) {
    std::vector<unsigned> order(5 * threads, 0);
    unsigned counter = 0;
    run(dim3(5), dim3(threads), 0, write_order, order.data(), &counter);
    std::sort(order.begin(), order.end());
    for (unsigned i = 0; i < order.size(); ++i) ASSERT_EQ(order[i], i) << threads;
  }
}

std::vector<unsigned> order_of(const Settings& settings) {
  const WithSettings chosen(settings);
  std::vector<unsigned> order(3 * 70);
  unsigned counter = 0;
  run(dim3(3), dim3(70), 0, write_order, order.data(), &counter);
  return order;
}

TEST(ThreadOrder, ForwardIsAscendingAndReverseDescending) {
  std::vector<unsigned> forward = order_of({Order::Forward, 1, 1});
  EXPECT_TRUE(std::is_sorted(forward.begin(), forward.end()));
  std::reverse(forward.begin(), forward.end());
  EXPECT_EQ(order_of({Order::Reverse, 1, 1}), forward);
}

TEST(ThreadOrder, RandomDependsOnTheSeedOnly) {
  std::set<std::vector<unsigned>> seen;
  for (std::uint32_t seed = 0; seed < 8; ++seed) {
    const std::vector<unsigned> order = order_of({Order::Random, seed, 1});
    EXPECT_EQ(order_of({Order::Random, seed, 1}), order);
    EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
    seen.insert(order);
  }
  EXPECT_EQ(seen.size(), 8U);
}

TEST(ThreadOrder, IsReadFromText) {
  EXPECT_EQ(parse_settings("", "").order, Order::Forward);
  EXPECT_EQ(parse_settings("forward", "").order, Order::Forward);
  EXPECT_EQ(parse_settings("reverse", "").order, Order::Reverse);
  EXPECT_EQ(parse_settings("random:17", "").order, Order::Random);
  EXPECT_EQ(parse_settings("random:17", "").seed, 17U);
  EXPECT_EQ(parse_settings("", "").workers, 1);
  EXPECT_EQ(parse_settings("", "3").workers, 3);
}

TEST(ThreadOrder, RejectsOtherText) {
  for (const char* text : {"backward", "random", "random:", "random:x", "random:-1", "Forward"})
    EXPECT_THROW(parse_settings(text, ""), std::invalid_argument) << text;
  for (const char* text : {"0", "-1", "257", "two"})
    EXPECT_THROW(parse_settings("", text), std::invalid_argument) << text;
}

}  // namespace
}  // namespace plumb::test

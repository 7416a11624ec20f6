#include "data/permutation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace plumb {
namespace {

std::vector<std::uint64_t> images(std::uint64_t size, RandomStream key) {
  const KeyedPermutation permutation(size, key);
  std::vector<std::uint64_t> result(size);
  for (std::uint64_t i = 0; i < size; ++i) result[i] = permutation(i);
  return result;
}

TEST(KeyedPermutation, IsABijection) {
  std::vector<std::uint64_t> sizes{1000, 4096, 4097, 65537};
  for (std::uint64_t size = 1; size <= 130; ++size) sizes.push_back(size);
  for (const std::uint64_t size : sizes) {
    auto sorted = images(size, {7, 3, 1});
    std::sort(sorted.begin(), sorted.end());
    for (std::uint64_t i = 0; i < size; ++i) ASSERT_EQ(sorted[i], i) << "size " << size;
  }
}

TEST(KeyedPermutation, DependsOnEveryPartOfItsKey) {
  const auto base = images(100, {7, 3, 1});
  EXPECT_EQ(base, images(100, {7, 3, 1}));
  EXPECT_NE(base, images(100, {8, 3, 1}));
  EXPECT_NE(base, images(100, {7, 4, 1}));
  EXPECT_NE(base, images(100, {7, 3, 2}));
}

TEST(KeyedPermutation, SpreadsImagesEvenly) {
  // Over keys, each element goes to each place equally often: 4000 draws, mean 400, standard deviation 19.
  for (std::uint64_t element = 0; element < 10; ++element) {
    std::vector<int> counts(10);
    for (std::uint64_t key = 0; key < 4000; ++key) ++counts[KeyedPermutation(10, {key, 0, 0})(element)];
    for (const int count : counts) EXPECT_NEAR(count, 400, 5 * 19);
  }
}

TEST(KeyedPermutation, HandlesLargeDomains) {
  const KeyedPermutation permutation(std::uint64_t{1} << 63, {1, 0, 0});
  EXPECT_LT(permutation(12345), std::uint64_t{1} << 63);
  EXPECT_NE(permutation(12345), permutation(12346));
}

TEST(UniformBelow, IsTheUpperHalfOfTheProduct) {
  const std::uint64_t bits = 0xfedcba9876543210U;
  const auto high = static_cast<std::uint32_t>(bits >> 32), low = static_cast<std::uint32_t>(bits);
  for (int k = 1; k < 64; ++k) {
    EXPECT_EQ(uniform_below(std::uint64_t{1} << k, high, low), bits >> (64 - k));
  }
  EXPECT_EQ(uniform_below(10, 0, 0xffffffffU), 0U);
  EXPECT_EQ(uniform_below(10, 0x80000000U, 0), 5U);
  EXPECT_EQ(uniform_below(10, 0xffffffffU, 0xffffffffU), 9U);
  EXPECT_EQ(uniform_below(~std::uint64_t{0}, 0xffffffffU, 0xffffffffU), ~std::uint64_t{0} - 1);
}

}  // namespace
}  // namespace plumb

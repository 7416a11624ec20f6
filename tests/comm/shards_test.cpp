// Shards against what they are for: every element has one owner, and all ranks own equally much.
#include "comm/shards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <vector>

#include "core/error.h"

namespace plumb::test {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Tensors padded to multiples of 4 * world elements; in buckets of at most 200.
GradientLayout layout_for(int world, std::int64_t* elements) {
  std::vector<TensorSpan> tensors;
  *elements = 0;
  for (const std::int64_t count : {1, 50, 333, 12, 12, 3, 120, 700, 5}) {
    tensors.push_back({"tensor " + std::to_string(tensors.size()), *elements, count});
    const std::int64_t multiple = 4 * world;
    *elements += (count + multiple - 1) / multiple * multiple;
  }
  return make_buckets(std::move(tensors), 200 * 4, DType::Float32);
}

class Worlds : public ::testing::TestWithParam<int> {};

TEST_P(Worlds, OwnEveryElementOnceAndEquallyManyEach) {
  const int world = GetParam();
  std::int64_t elements = 0;
  const GradientLayout unsharded = layout_for(world, &elements),
                       layout = shard_buckets(unsharded, elements, world);
  ASSERT_GT(layout.buckets.size(), 3U);
  std::vector<int> owners(static_cast<std::size_t>(elements));
  for (int rank = 0; rank < world; ++rank) {
    const Shards shards(layout, rank, world);
    EXPECT_EQ(shards.elements() * world, elements);
    ASSERT_EQ(shards.parts().size(), layout.tensors.size());
    std::set<std::int64_t> places;
    for (std::size_t t = 0; t < layout.tensors.size(); ++t) {
      const Shards::Part& part = shards.parts()[t];
      ASSERT_LE(part.begin + part.count, layout.tensors[t].count);
      for (std::int64_t i = 0; i < part.count; ++i) {
        ++owners[static_cast<std::size_t>(layout.tensors[t].offset + part.begin + i)];
        EXPECT_TRUE(places.insert(part.place + i).second) << "two elements at one place";
        EXPECT_LT(part.place + i, shards.elements());
      }
    }
  }
  for (const TensorSpan& span : layout.tensors) {
    for (std::int64_t i = 0; i < span.count; ++i)
      ASSERT_EQ(owners[static_cast<std::size_t>(span.offset + i)], 1) << span.name << ' ' << i;
  }
}

/// A rank's row of a bucket and its part of the compact buffer are the same elements.
TEST_P(Worlds, FindTheSameElementsInBothBuffers) {
  const int world = GetParam();
  std::int64_t elements = 0;
  const GradientLayout unsharded = layout_for(world, &elements),
                       layout = shard_buckets(unsharded, elements, world);
  std::vector<float> flat(static_cast<std::size_t>(elements));
  std::iota(flat.begin(), flat.end(), 0.0F);
  for (int rank = 0; rank < world; ++rank) {
    const Shards shards(layout, rank, world);
    std::vector<float> compact(static_cast<std::size_t>(shards.elements()));
    const Tensor flat_tensor(flat.data(), DType::Float32, {elements}),
        compact_tensor(compact.data(), DType::Float32, {shards.elements()});
    for (std::size_t b = 0; b < shards.buckets(); ++b) {
      const Tensor row = shards.bucket_of(flat_tensor, b).row_range(rank, 1),
                   own = shards.own_part_of(compact_tensor, b);
      ASSERT_EQ(row.elements(), own.elements());
      std::copy_n(row.as<float>(), row.elements(), own.as<float>());
    }
    for (std::size_t t = 0; t < layout.tensors.size(); ++t) {
      const Shards::Part& part = shards.parts()[t];
      for (std::int64_t i = 0; i < part.count; ++i) {
        EXPECT_EQ(compact[static_cast<std::size_t>(part.place + i)],
                  flat[static_cast<std::size_t>(layout.tensors[t].offset + part.begin + i)]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, Worlds, ::testing::Values(1, 2, 3, 8));

TEST(Shards, RefuseBucketsThatDoNotDivide) {
  std::int64_t elements = 0;
  const GradientLayout layout = layout_for(2, &elements);
  EXPECT_THAT([&] { shard_buckets(layout, elements, 3); },
              ThrowsMessage<Error>(HasSubstr("does not divide between 3 ranks")));
  EXPECT_THROW(Shards(layout, 0, 2), Error) << "a layout that is not sharded";
}

}  // namespace
}  // namespace plumb::test

#include "report/tensor_groups.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "made_run.h"

namespace plumb {
namespace {

using ::testing::ElementsAre;

TEST(TensorGroups, KindsAndBlocksFromBelow) {
  const TensorGroups groups = group_tensors({"final_norm.gain", "blocks.10.ffn.weight", "blocks.10.ffn.bias",
                                             "blocks.0.ffn.weight", "blocks.0.ffn.bias", "embedding.token"});
  EXPECT_THAT(groups.kinds, ElementsAre("embedding.token", "ffn.bias", "ffn.weight", "final_norm.gain"));
  EXPECT_THAT(groups.by_kind[2], ElementsAre(3, 1));
  ASSERT_EQ(groups.by_block.size(), 11U);
  EXPECT_THAT(groups.by_block[10], ElementsAre(2, 1));
  EXPECT_THAT(groups.block_weights[10], ElementsAre(1));
  EXPECT_THAT(groups.by_block[5], ElementsAre());
}

TEST(TensorGroups, NamesThatOnlyLookLikeBlocks) {
  const TensorGroups groups = group_tensors({"blocks.x.weight", "blocks.3", "blocks."});
  EXPECT_TRUE(groups.by_block.empty());
  EXPECT_EQ(groups.kinds.size(), 3U);
}

TEST(TensorGroups, MediansAndNormsOfTheFiniteValues) {
  RunData run;
  run.tensors = {"head", "blocks.1.b.weight", "blocks.1.a.weight", "blocks.0.b.weight", "blocks.0.a.weight"};
  run.stability.steps = {1};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  run.stability.arrays["tensors.update_ratio"] = test::matrix(5, {9, 1, 2, 3, nan});
  run.stability.arrays["tensors.adam_lag"] = test::matrix(5, {1, nan, 5, 7, 3});
  run.stability.arrays["tensors.grad_norm"] = test::matrix(5, {9, 3, 4, 6, 8});
  EXPECT_THAT(add_tensor_groups(run), ElementsAre("a.weight", "b.weight", "head"));
  EXPECT_THAT(run.stability.arrays["kind.update_ratio"].values, ElementsAre(2, 2, 9));
  EXPECT_THAT(run.stability.arrays["kind.adam_lag"].values, ElementsAre(4, 7, 1));
  EXPECT_THAT(run.stability.arrays["block.update_ratio"].values, ElementsAre(3, 1.5));
  EXPECT_THAT(run.stability.arrays["block.grad_norm"].values, ElementsAre(10, 5));
}

TEST(TensorGroups, NothingIsMadeOfALogWithOtherTensors) {
  RunData run;
  run.tensors = {"a", "b"};
  run.stability.steps = {1};
  run.stability.arrays["tensors.update_ratio"] = test::matrix(3, {1, 2, 3});
  add_tensor_groups(run);
  EXPECT_EQ(run.stability.arrays.size(), 1U);
}

}  // namespace
}  // namespace plumb

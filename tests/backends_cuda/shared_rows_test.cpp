// Every case of the choice between one stage and two.
#include "backends/cuda/shared_rows.h"

#include <gtest/gtest.h>

namespace plumb::cuda {
namespace {

void expect_stages(std::size_t stage, std::size_t sums, std::size_t most, int stages) {
  const SharedRows rows = shared_rows(stage, sums, most);
  EXPECT_EQ(rows.stages, stages) << stage << " " << sums << " " << most;
  EXPECT_EQ(rows.bytes, stage * static_cast<std::size_t>(stages));
}

TEST(SharedRows, TwoStagesWhereTwoBlocksHaveThem) { expect_stages(20, 10, 100, 2); }

TEST(SharedRows, OneStageWhereItMakesRoomForASecondBlock) {
  expect_stages(21, 10, 100, 1);
  expect_stages(40, 10, 100, 1);
}

TEST(SharedRows, TwoStagesWhereThereIsRoomForOneBlockAnyway) {
  expect_stages(41, 10, 100, 2);
  expect_stages(45, 10, 100, 2);
}

TEST(SharedRows, OneStageWhereABlockHasNoRoomForTwo) {
  expect_stages(46, 10, 100, 1);
  expect_stages(90, 10, 100, 1);
  expect_stages(200, 10, 100, 1);
}

}  // namespace
}  // namespace plumb::cuda

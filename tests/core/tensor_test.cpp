#include "core/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace plumb {
namespace {

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape().elements(), 0);
  EXPECT_EQ(Shape().rank(), 0);
  EXPECT_EQ((Shape{7}).elements(), 7);
  EXPECT_EQ((Shape{2, 3, 4, 5}).elements(), 120);
  EXPECT_EQ((Shape{2, 0, 4}).elements(), 0);
  EXPECT_EQ((Shape{2, 3})[1], 3);
  EXPECT_EQ(to_string(Shape{2, 128, 64}), "(2,128,64)");
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
  EXPECT_THROW((Shape{1, 2, 3, 4, 5}), Error);
}

class TensorViews : public testing::Test {
 protected:
  TensorViews() { std::iota(memory_.begin(), memory_.end(), 0.0F); }
  std::vector<float> memory_ = std::vector<float>(24);
  Tensor tensor_ = Tensor(memory_.data(), DType::Float32, Shape{2, 3, 4});

  static float at(const Tensor& view, std::int64_t row, std::int64_t col) {
    return view.as<float>()[row * view.row_stride + col];
  }
};

TEST_F(TensorViews, RowsAndColumns) {
  EXPECT_EQ(tensor_.rows(), 6);
  EXPECT_EQ(tensor_.cols(), 4);
  EXPECT_EQ(tensor_.bytes(), 96U);
  EXPECT_TRUE(tensor_.contiguous());
  EXPECT_FALSE(Tensor().defined());
  EXPECT_EQ(Tensor().rows(), 0);
  EXPECT_EQ(Tensor().elements(), 0);
}

TEST_F(TensorViews, ColumnSlice) {
  const Tensor slice = tensor_.columns(1, 2);
  EXPECT_EQ(slice.shape, (Shape{6, 2}));
  EXPECT_EQ(slice.row_stride, 4);
  EXPECT_FALSE(slice.contiguous());
  EXPECT_EQ(at(slice, 0, 0), 1);
  EXPECT_EQ(at(slice, 5, 1), 22);
  const Tensor inner = slice.row_range(2, 3).columns(1, 1);  // views of views
  EXPECT_EQ(inner.shape, (Shape{3, 1}));
  EXPECT_EQ(at(inner, 0, 0), 10);
  EXPECT_EQ(at(inner, 2, 0), 18);
  EXPECT_THROW(slice.reshaped(Shape{12}), Error);
}

TEST_F(TensorViews, RowRangeAndReshape) {
  const Tensor rows = tensor_.row_range(4, 2);
  EXPECT_EQ(rows.shape, (Shape{2, 4}));
  EXPECT_EQ(at(rows, 1, 3), 23);
  EXPECT_EQ(at(tensor_.reshaped(Shape{3, 8}), 1, 0), 8);
  EXPECT_EQ(tensor_.row_range(6, 0).elements(), 0);
}

TEST_F(TensorViews, OutOfRangeIsAnErrorThatNamesTheNumbers) {
  EXPECT_THAT(message_of([&] { tensor_.columns(3, 2); }),
              testing::HasSubstr("columns 3..5 of a tensor of 4"));
  EXPECT_THAT(message_of([&] { tensor_.row_range(5, 2); }), testing::HasSubstr("rows 5..7 of a tensor of 6"));
  EXPECT_THAT(message_of([&] {
                tensor_.reshaped(Shape{5, 5});
              }),
              testing::HasSubstr("reshape (2,3,4) to (5,5)"));
  EXPECT_THAT(message_of([&] { tensor_.as<double>(); }), testing::HasSubstr("fp32, asked for as fp64"));
}

TEST_F(TensorViews, PlanningViewsHaveNoData) {
  const Tensor planned(nullptr, DType::Float32, Shape{6, 4});
  EXPECT_TRUE(planned.defined());
  EXPECT_EQ(planned.columns(2, 1).data, nullptr);
  EXPECT_EQ(planned.row_range(2, 1).data, nullptr);
}

}  // namespace
}  // namespace plumb

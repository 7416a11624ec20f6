// Layout of buckets, and the reducer's protocol in a world of one.
#include "comm/gradient_reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "comm/local_communicator.h"
#include "core/error.h"

namespace plumb {
namespace {
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

std::vector<TensorSpan> four_tensors() {
  return {{"a", 0, 10}, {"b", 16, 10}, {"c", 32, 100}, {"d", 144, 1}};
}

TEST(MakeBuckets, FillsBucketsInOrderPaddingIncluded) {
  // 26 elements hold a, the padding and b; c is larger than a bucket and stands alone.
  const GradientLayout layout = make_buckets(four_tensors(), 26 * 4, DType::Float32);
  ASSERT_EQ(layout.buckets.size(), 3U);
  EXPECT_EQ(layout.buckets[0].tensors, 2);
  EXPECT_EQ(layout.buckets[0].count, 26);
  EXPECT_EQ(layout.buckets[1].first_tensor, 2);
  EXPECT_EQ(layout.buckets[1].offset, 32);
  EXPECT_EQ(layout.buckets[1].count, 100);
  EXPECT_EQ(layout.buckets[2].offset, 144);
  EXPECT_EQ(make_buckets(four_tensors(), 26 * 8 - 1, DType::Float64).buckets.size(), 4U);
  EXPECT_EQ(make_buckets(four_tensors(), 1, DType::Float32).buckets.size(), 4U);
  EXPECT_THROW(make_buckets({{"a", 0, 10}, {"b", 9, 1}}, 100, DType::Float32), Error);
}

class LocalReducer : public testing::Test {
 protected:
  LocalCommunicator communicator{"here"};
  std::vector<float> flat = std::vector<float>(160, 1.5F);
  Tensor gradients{flat.data(), DType::Float32, {160}};
  std::vector<int> called;
  GradientReducer reducer{communicator, make_buckets(four_tensors(), 26 * 4, DType::Float32), gradients,
                          [this](int bucket) { called.push_back(bucket); }};
};

/// Notes what is reserved; otherwise a world of one.
class CountingRequests final : public Communicator {
 public:
  CountingRequests() { set_ranks(0, inner_.hosts()); }
  void barrier(std::string_view name) override { inner_.barrier(name); }
  void reserve(int requests) override { reserved = requests; }
  bool poll(Request& request) override { return inner_.poll(request); }
  void wait(Request& request) override { inner_.wait(request); }
  void progress() override {}
  StallNotes& stall_notes() override { return inner_.stall_notes(); }
  int reserved = 0;

 private:
  void do_all_reduce(std::string_view, const Tensor&, ReduceOp) override {}
  void do_all_gather(std::string_view, const Tensor&, const Tensor&) override {}
  void do_reduce_scatter(std::string_view, const Tensor&, const Tensor&) override {}
  void do_broadcast(std::string_view, const Tensor&, int) override {}
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override {
    return inner_.start_all_reduce(name, tensor);
  }
  LocalCommunicator inner_{"here"};
};

// The loss of a step is gathered on the same ring; with room for buckets alone it would make the host wait.
TEST(GradientReducer, HasRoomForTheBucketsOfTwoStepsAndWhatIsGatheredBesideThem) {
  CountingRequests communicator;
  std::vector<float> flat(160);
  const GradientReducer reducer(communicator, make_buckets(four_tensors(), 26 * 4, DType::Float32),
                                Tensor(flat.data(), DType::Float32, {160}), {});
  EXPECT_EQ(communicator.reserved, 2 * (3 + 1));
}

TEST_F(LocalReducer, CallsBackOnceForEachCompleteBucketAndStartsThemInOrder) {
  reducer.begin_step();
  reducer.mark_ready(3);
  EXPECT_THAT(called, ElementsAre(2));
  EXPECT_EQ(reducer.started_buckets(), 0) << "buckets before it are not complete";
  reducer.mark_ready(1);
  reducer.mark_ready(0);
  EXPECT_THAT(called, ElementsAre(2, 0));
  EXPECT_EQ(reducer.started_buckets(), 1);
  reducer.mark_ready(2);
  EXPECT_EQ(reducer.started_buckets(), 3);
  reducer.finish();
  EXPECT_THAT(called, ElementsAre(2, 0, 1));
  EXPECT_EQ(flat, std::vector<float>(160, 1.5F));
}

TEST_F(LocalReducer, NamesTensorsThatWereNeverMarked) {
  reducer.begin_step();
  reducer.mark_ready(0);
  reducer.mark_ready(3);
  EXPECT_THAT([&] { reducer.finish(); },
              ThrowsMessage<Error>(
                  AllOf(HasSubstr("3 of 3 buckets"), HasSubstr(": b, c"), Not(HasSubstr("b, c, d")))));
}

TEST_F(LocalReducer, RefusesMarksOutOfPlace) {
  EXPECT_THROW(reducer.mark_ready(0), Error);
  EXPECT_THROW(reducer.finish(), Error);
  reducer.begin_step();
  reducer.mark_ready(1);
  EXPECT_THAT([&] { reducer.mark_ready(1); },
              ThrowsMessage<Error>(HasSubstr("gradient of b was marked ready twice")));
  EXPECT_THROW(reducer.mark_ready(4), Error);
  EXPECT_THROW(reducer.begin_step(), Error);
}

TEST_F(LocalReducer, RefusesLayoutsThatLeaveSomethingOut) {
  auto layout = make_buckets(four_tensors(), 26 * 4, DType::Float32);
  layout.buckets.pop_back();
  EXPECT_THAT([&] { GradientReducer(communicator, layout, gradients); },
              ThrowsMessage<Error>(HasSubstr("1 of 4 tensors are in no bucket")));
  layout = make_buckets(four_tensors(), 26 * 4, DType::Float32);
  layout.buckets[0].count = 20;
  EXPECT_THAT([&] { GradientReducer(communicator, layout, gradients); },
              ThrowsMessage<Error>(HasSubstr("tensor b does not lie within its bucket")));
  EXPECT_THROW(GradientReducer(communicator, make_buckets(four_tensors(), 64, DType::Float32),
                               Tensor(flat.data(), DType::Float32, {144})),
               Error);
  EXPECT_THROW(GradientReducer(communicator, make_buckets(four_tensors(), 64, DType::BFloat16),
                               Tensor(flat.data(), DType::BFloat16, {160})),
               Error);
}

}  // namespace
}  // namespace plumb

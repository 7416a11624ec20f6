// GradientReducer over an emulated device, whose two streams run in whatever order they may; and that these
// tests find a reducer that lacks an event wait or leaves a bucket out.
#include <gtest/gtest.h>

#include <utility>

#include "comm/gradient_reducer.h"
#include "core/rng.h"
#include "device_bench.h"

namespace plumb::test {
namespace {

/// Tensors of unlike sizes in several buckets.
std::vector<TensorSpan> uneven_tensors() {
  std::vector<TensorSpan> tensors;
  std::int64_t offset = 0;
  for (int i = 0; i < 9; ++i) {
    const std::int64_t count = 1 + 977 * i % 401;
    tensors.push_back({"tensor " + std::to_string(i), offset, count});
    offset += (count + 15) / 16 * 16;
  }
  return tensors;
}

/// Small integers, so that sums are exact, in bf16 too: different for each step, rank and element.
float gradient_at(int step, int rank, std::int64_t i) {
  return static_cast<float>((rank + 1) * static_cast<int>(i % 13) + step % 5);
}
float sum_at(int step, std::int64_t i) {
  float sum = 0;
  for (int rank = 0; rank < ranks().world(); ++rank) sum += gradient_at(step, rank, i);
  return sum;
}

/// Passes everything on to a device's communicator, but for one fault.
class FaultyCommunicator final : public Communicator {
 public:
  enum class Fault { None, NoWait, SkippedBucket };

  FaultyCommunicator(std::unique_ptr<Communicator> inner, Fault fault)
      : inner_(std::move(inner)), fault_(fault) {
    set_ranks(inner_->rank(), inner_->hosts());
  }
  void barrier(std::string_view name) override { inner_->barrier(name); }
  void reserve(int requests) override { inner_->reserve(requests); }
  bool poll(Request& request) override { return inner_->poll(request); }
  void wait(Request& request) override {
    if (fault_ != Fault::NoWait) inner_->wait(request);
  }
  void progress() override { inner_->progress(); }
  bool takes(DType dtype) const override { return inner_->takes(dtype); }
  StallNotes& stall_notes() override { return inner_->stall_notes(); }

 private:
  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override {
    inner_->all_reduce(name, tensor, op);
  }
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override {
    inner_->all_gather(name, send, receive);
  }
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override {
    inner_->reduce_scatter(name, send, receive);
  }
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override {
    inner_->broadcast(name, tensor, root);
  }
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override {
    if (fault_ == Fault::SkippedBucket && name == "gradient bucket 1") return {};
    return inner_->start_all_reduce(name, tensor);
  }

  std::unique_ptr<Communicator> inner_;
  Fault fault_;
};

class DeviceReducer : public DeviceBench {
 protected:
  using Fault = FaultyCommunicator::Fault;

  GradientLayout layout = make_buckets(uneven_tensors(), 2'000, DType::Float32);
  std::int64_t elements = layout.tensors.back().offset + layout.tensors.back().count;
  Buffer memory = backend->allocate_for_communication(static_cast<std::size_t>(elements) * 4);
  Tensor flat{memory.data(), DType::Float32, {elements}};
  int step = 0;
  int wrong_before_reduce = 0;

  Tensor span_of(const TensorSpan& span) const {
    return Tensor(flat.as<float>() + span.offset, DType::Float32, {span.count});
  }

  /// What a backward pass does to the reducer, and an optimiser that comes right after it. Elements that the
  /// optimiser finds wrong, in so many steps.
  int wrong_elements(Communicator& communicator, int steps, GradientWire wire = {}) {
    GradientReducer reducer(
        communicator, layout, flat,
        [this](int bucket) { count_reduced_too_early(layout.buckets[static_cast<std::size_t>(bucket)]); },
        std::move(wire));
    int wrong = 0;
    for (step = 1; step <= steps; ++step) {
      reducer.begin_step();
      for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
        write_gradient(layout.tensors[i]);
        reducer.mark_ready(static_cast<int>(i));
        reducer.progress();
      }
      reducer.finish();
      const std::vector<float> found = get<float>(flat);
      for (const TensorSpan& span : layout.tensors) {
        for (std::int64_t i = span.offset; i < span.offset + span.count; ++i) {
          wrong += found[static_cast<std::size_t>(i)] == sum_at(step, i) ? 0 : 1;
        }
      }
    }
    return wrong;
  }

  /// The most that any rank has found.
  static int worst(int own) {
    std::int32_t most = own;
    ranks().all_reduce("wrong elements", Tensor(&most, DType::Int32, {1}), ReduceOp::Max);
    return most;
  }

 private:
  void write_gradient(const TensorSpan& span) {
    std::vector<float> values(static_cast<std::size_t>(span.count));
    for (std::int64_t i = 0; i < span.count; ++i) {
      values[static_cast<std::size_t>(i)] = gradient_at(step, ranks().rank(), span.offset + i);
    }
    put(values, span_of(span));
  }

  void count_reduced_too_early(const Bucket& bucket) {
    for (int t = bucket.first_tensor; t < bucket.first_tensor + bucket.tensors; ++t) {
      const TensorSpan& span = layout.tensors[static_cast<std::size_t>(t)];
      const std::vector<float> found = get<float>(span_of(span));
      for (std::int64_t i = 0; i < span.count; ++i) {
        const float expected = gradient_at(step, ranks().rank(), span.offset + i);
        wrong_before_reduce += found[static_cast<std::size_t>(i)] == expected ? 0 : 1;
      }
    }
  }
};

TEST_F(DeviceReducer, SumsWhatBackwardWroteAndTheOptimiserReads) {
  ASSERT_GE(layout.buckets.size(), 4U);
  const auto communicator = make_communicator(*stream);
  EXPECT_EQ(wrong_elements(*communicator, 6), 0);
  EXPECT_EQ(wrong_before_reduce, 0);
}

TEST_F(DeviceReducer, SumsBrainFloatsOnTheWire) {
  const Buffer staging = backend->allocate_for_communication(static_cast<std::size_t>(elements) * 2);
  const Tensor wire(staging.data(), DType::BFloat16, {elements});
  const auto communicator = make_communicator(*stream);
  int to_wire = 0, from_wire = 0;
  const auto convert = [&](const Tensor& from, const Tensor& to) {
    if (to.dtype == DType::BFloat16) {
      const std::vector<float> wide = get<float>(from);
      put(std::vector<bfloat16>(wide.begin(), wide.end()), to);
      ++to_wire;
    } else {
      const std::vector<bfloat16> narrow = get<bfloat16>(from);
      put(std::vector<float>(narrow.begin(), narrow.end()), to);
      ++from_wire;
    }
  };
  EXPECT_EQ(wrong_elements(*communicator, 2, {.staging = wire, .convert = convert}), 0);
  EXPECT_EQ(to_wire, 2 * static_cast<int>(layout.buckets.size()));
  EXPECT_EQ(from_wire, to_wire);
}

// The tests above are worth something only if they fail when an ordering is missing.

TEST_F(DeviceReducer, ThatDoesNotOrderTheOptimiserBehindItIsFound) {
  if (ranks().world() == 1 || eager_schedule()) GTEST_SKIP() << "nothing is out of order there";
  FaultyCommunicator faulty(make_communicator(*stream), Fault::NoWait);
  EXPECT_GT(worst(wrong_elements(faulty, 6)), 0);
}

TEST_F(DeviceReducer, ThatDoesNotOrderItselfBehindBackwardIsFound) {
  if (ranks().world() == 1 || !random_schedule()) GTEST_SKIP() << "nothing is out of order there";
  // Ordered with another stream than the one that gradients are written in.
  const std::unique_ptr<Stream> other = backend->create_stream();
  const auto communicator = make_communicator(*other);
  EXPECT_GT(worst(wrong_elements(*communicator, 6)), 0);
  stream->synchronize();
}

TEST_F(DeviceReducer, ThatLeavesABucketOutIsFound) {
  if (ranks().world() == 1) GTEST_SKIP() << "there is nothing to reduce";
  FaultyCommunicator faulty(make_communicator(*stream), Fault::SkippedBucket);
  EXPECT_GT(worst(wrong_elements(faulty, 1)), 0);
}

}  // namespace
}  // namespace plumb::test

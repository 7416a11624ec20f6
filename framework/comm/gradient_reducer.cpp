#include "comm/gradient_reducer.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace plumb {

GradientLayout make_buckets(std::vector<TensorSpan> tensors, std::int64_t bucket_bytes, DType dtype) {
  PLUMB_CHECK(bucket_bytes > 0, "a bucket must hold at least a byte, got {}", bucket_bytes);
  const std::int64_t limit = bucket_bytes / static_cast<std::int64_t>(size_of(dtype));
  GradientLayout layout;
  std::int64_t previous_end = 0;
  for (int i = 0; i < static_cast<int>(tensors.size()); ++i) {
    const TensorSpan& span = tensors[static_cast<std::size_t>(i)];
    PLUMB_CHECK(span.offset >= previous_end && span.count > 0,
                "tensor {} at [{}, {}+{}) overlaps the one before it, or is empty", span.name, span.offset,
                span.offset, span.count);
    previous_end = span.offset + span.count;
    if (layout.buckets.empty() || previous_end - layout.buckets.back().offset > limit) {
      layout.buckets.push_back({i, 0, span.offset, 0});
    }
    Bucket& bucket = layout.buckets.back();
    ++bucket.tensors;
    bucket.count = previous_end - bucket.offset;
  }
  layout.tensors = std::move(tensors);
  return layout;
}

namespace {

/// Collectives of a step with sharded updates beside those of buckets: sums of squares, and of the update.
constexpr int kSumsOfShards = 2;

Tensor slice_of(const Tensor& flat, const Bucket& bucket) {
  auto* base = static_cast<char*>(flat.data);
  return Tensor(base + bucket.offset * static_cast<std::int64_t>(size_of(flat.dtype)), flat.dtype,
                Shape{bucket.count});
}

}  // namespace

GradientReducer::GradientReducer(Communicator& communicator, GradientLayout layout, Tensor flat_gradients,
                                 BeforeReduce before_reduce, GradientWire wire)
    : communicator_(communicator),
      layout_(std::move(layout)),
      before_reduce_(std::move(before_reduce)),
      wire_(std::move(wire)),
      requests_(layout_.buckets.size()),
      bucket_of_(layout_.tensors.size()),
      missing_(layout_.buckets.size()),
      marked_(layout_.tensors.size()) {
  check_layout(flat_gradients);
  check_wire(flat_gradients);
  for (std::size_t b = 0; b < layout_.buckets.size(); ++b) {
    const Bucket& bucket = layout_.buckets[b];
    slices_.push_back(slice_of(flat_gradients, bucket));
    if (wire_.convert) staged_.push_back(slice_of(wire_.staging, bucket));
    names_.push_back(fmt::format("gradient bucket {}", b));
    std::fill_n(bucket_of_.begin() + bucket.first_tensor, bucket.tensors, static_cast<int>(b));
  }
  // A host that runs ahead of its device has the buckets of two steps under way, and of each what the trainer
  // gathers beside them.
  const int buckets = static_cast<int>(layout_.buckets.size());
  communicator_.reserve(2 * (layout_.sharded ? 2 * buckets + kSumsOfShards + 1 : buckets + 1));
}

void GradientReducer::check_layout(const Tensor& flat_gradients) const {
  PLUMB_CHECK(flat_gradients.dtype == DType::Float32 || flat_gradients.dtype == DType::Float64,
              "gradients are reduced in fp32 or fp64, not in {}", name_of(flat_gradients.dtype));
  PLUMB_CHECK(flat_gradients.contiguous(), "the flat gradient buffer must be contiguous");
  int next_tensor = 0;
  for (const Bucket& bucket : layout_.buckets) {
    PLUMB_CHECK(
        bucket.first_tensor == next_tensor && bucket.tensors > 0,
        "buckets must hold every tensor once and in order: a bucket of {} starts with tensor {}, not {}",
        bucket.tensors, bucket.first_tensor, next_tensor);
    next_tensor += bucket.tensors;
    PLUMB_CHECK(next_tensor <= static_cast<int>(layout_.tensors.size()),
                "a bucket holds tensors up to {} of {}", next_tensor, layout_.tensors.size());
    PLUMB_CHECK(bucket.offset >= 0 && bucket.offset + bucket.count <= flat_gradients.elements(),
                "a bucket at [{}, {}+{}) leaves the gradient buffer of {} elements", bucket.offset,
                bucket.offset, bucket.count, flat_gradients.elements());
    for (int i = bucket.first_tensor; i < next_tensor; ++i) {
      const TensorSpan& span = layout_.tensors[static_cast<std::size_t>(i)];
      PLUMB_CHECK(span.offset >= bucket.offset && span.offset + span.count <= bucket.offset + bucket.count,
                  "tensor {} does not lie within its bucket", span.name);
    }
  }
  PLUMB_CHECK(next_tensor == static_cast<int>(layout_.tensors.size()), "{} of {} tensors are in no bucket",
              static_cast<int>(layout_.tensors.size()) - next_tensor, layout_.tensors.size());
}

void GradientReducer::check_wire(const Tensor& flat_gradients) const {
  PLUMB_CHECK(!(wire_.rounded && wire_.convert), "gradients are rounded once: by the communicator or before");
  if (!wire_.convert) return;
  PLUMB_CHECK(wire_.staging.contiguous() && wire_.staging.elements() == flat_gradients.elements(),
              "gradients of {} elements cannot be reduced through {} of them", flat_gradients.elements(),
              wire_.staging.elements());
}

void GradientReducer::begin_step() {
  PLUMB_CHECK(!in_step_, "the gradients of the step before were not finished");
  in_step_ = true;
  started_buckets_ = 0;
  std::fill(marked_.begin(), marked_.end(), std::uint8_t{0});
  for (std::size_t b = 0; b < missing_.size(); ++b) missing_[b] = layout_.buckets[b].tensors;
}

void GradientReducer::mark_ready(int tensor) {
  PLUMB_CHECK(in_step_, "a gradient was marked ready outside a step");
  PLUMB_CHECK(tensor >= 0 && tensor < static_cast<int>(marked_.size()), "tensor {} of {}", tensor,
              marked_.size());
  const auto index = static_cast<std::size_t>(tensor);
  PLUMB_CHECK(!marked_[index], "the gradient of {} was marked ready twice in one step",
              layout_.tensors[index].name);
  marked_[index] = 1;
  const int bucket = bucket_of_[index];
  if (--missing_[static_cast<std::size_t>(bucket)] > 0) return;
  if (before_reduce_) before_reduce_(bucket);
  start_complete_buckets();
}

void GradientReducer::start_complete_buckets() {
  for (; started_buckets_ < static_cast<int>(missing_.size()); ++started_buckets_) {
    const auto next = static_cast<std::size_t>(started_buckets_);
    if (missing_[next] > 0) return;
    if (wire_.convert) wire_.convert(slices_[next], staged_[next]);
    requests_[next] = start_bucket(next);
  }
}

Communicator::Request GradientReducer::start_bucket(std::size_t bucket) {
  const Tensor& sent = wire_.convert ? staged_[bucket] : slices_[bucket];
  if (wire_.rounded) return communicator_.start_rounded_all_reduce(names_[bucket], sent);
  return layout_.sharded ? communicator_.start_reduce_scatter(names_[bucket], sent)
                         : communicator_.start_all_reduce(names_[bucket], sent);
}

/// What of a bucket holds sums when it has been reduced.
Tensor GradientReducer::summed(const Tensor& bucket) const {
  if (!layout_.sharded) return bucket;
  const std::int64_t count = bucket.elements() / communicator_.world();
  return bucket.reshaped({communicator_.world(), count}).row_range(communicator_.rank(), 1);
}

std::string GradientReducer::unmarked_tensors() const {
  constexpr int kShown = 8;
  std::string names;
  int count = 0;
  for (std::size_t i = 0; i < marked_.size(); ++i) {
    if (!marked_[i] && ++count <= kShown) names += (count > 1 ? ", " : "") + layout_.tensors[i].name;
  }
  return count > kShown ? fmt::format("{} and {} more", names, count - kShown) : names;
}

void GradientReducer::finish() {
  PLUMB_CHECK(in_step_, "finish() outside a step");
  PLUMB_CHECK(started_buckets_ == static_cast<int>(missing_.size()),
              "backward never marked these gradients ready, and {} of {} buckets would stay unreduced: {}",
              static_cast<int>(missing_.size()) - started_buckets_, missing_.size(), unmarked_tensors());
  communicator_.begin_wait_clock();
  for (std::size_t b = 0; b < requests_.size(); ++b) {
    communicator_.wait(requests_[b]);
    if (wire_.convert) wire_.convert(summed(staged_[b]), summed(slices_[b]));
  }
  communicator_.end_wait_clock();
  in_step_ = false;
}

void GradientReducer::gather() {
  PLUMB_CHECK(!in_step_ && layout_.sharded, "sums are gathered after finish(), where they are sharded");
  for (std::size_t b = 0; b < requests_.size(); ++b)
    requests_[b] = communicator_.start_all_gather(names_[b], slices_[b]);
  for (Communicator::Request& request : requests_) communicator_.wait(request);
}

}  // namespace plumb

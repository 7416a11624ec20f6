#include "comm/shards.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {

Tensor elements_of(const Tensor& flat, std::int64_t offset, Shape shape) {
  auto* base = static_cast<char*>(flat.data);
  return Tensor(base + offset * static_cast<std::int64_t>(size_of(flat.dtype)), flat.dtype, shape);
}

}  // namespace

GradientLayout shard_buckets(GradientLayout layout, std::int64_t flat_elements, int world) {
  std::int64_t end = flat_elements;
  for (auto bucket = layout.buckets.rbegin(); bucket != layout.buckets.rend(); ++bucket) {
    PLUMB_CHECK(bucket->offset + bucket->count <= end && bucket->offset % world == 0 && end % world == 0,
                "a bucket at [{}, {}+{}) of [0, {}) does not divide between {} ranks", bucket->offset,
                bucket->offset, bucket->count, end, world);
    bucket->count = end - bucket->offset;
    end = bucket->offset;
  }
  PLUMB_CHECK(end == 0, "the first bucket starts at {}", end);
  layout.sharded = true;
  return layout;
}

Shards::Shards(const GradientLayout& layout, int rank, int world)
    : rank_(rank), world_(world), buckets_(layout.buckets) {
  PLUMB_CHECK(layout.sharded && rank >= 0 && rank < world, "shards of rank {} of {}", rank, world);
  for (const Bucket& bucket : buckets_) {
    const std::int64_t own = bucket.count / world, own_begin = bucket.offset + rank * own;
    for (int i = bucket.first_tensor; i < bucket.first_tensor + bucket.tensors; ++i) {
      const TensorSpan& span = layout.tensors[static_cast<std::size_t>(i)];
      const std::int64_t begin = std::max(span.offset, own_begin),
                         end = std::min(span.offset + span.count, own_begin + own);
      Part part;
      if (begin < end) part = {begin - span.offset, end - begin, elements_ + begin - own_begin};
      parts_.push_back(part);
    }
    elements_ += own;
  }
}

Tensor Shards::bucket_of(const Tensor& flat, std::size_t bucket) const {
  const Bucket& its = buckets_[bucket];
  return elements_of(flat, its.offset, {world_, its.count / world_});
}

Tensor Shards::own_part_of(const Tensor& compact, std::size_t bucket) const {
  const Bucket& its = buckets_[bucket];  // buckets lie end to end
  return elements_of(compact, its.offset / world_, {its.count / world_});
}

}  // namespace plumb

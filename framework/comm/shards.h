// Shards: which elements of the flat buffers each rank owns, and updates for all.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/gradient_reducer.h"

namespace plumb {

/// The layout with every bucket widened to the start of the next one, and the last one to the end of the flat
/// buffer: buckets that divide into `world` equal parts. Tensors must start at multiples of `world` elements,
/// and the buffer must end at one.
GradientLayout shard_buckets(GradientLayout layout, std::int64_t flat_elements, int world);

/// Every bucket is cut into as many equal parts as there are ranks, and rank r owns the r-th: a bucket can be
/// reduced to its owners as soon as it is complete, and all ranks own equally much. What a rank keeps of its
/// own parts alone lies end to end, in the order of the buckets, in a compact buffer.
class Shards {
 public:
  /// A part of a tensor.
  struct Part {
    std::int64_t begin = 0;  ///< elements from the tensor's first
    std::int64_t count = 0;  ///< 0: the rank owns nothing of it
    std::int64_t place = 0;  ///< elements from the start of the compact buffer
  };

  /// The layout is one of shard_buckets.
  Shards(const GradientLayout& layout, int rank, int world);

  int rank() const { return rank_; }
  int world() const { return world_; }
  /// Of a rank's compact buffer.
  std::int64_t elements() const { return elements_; }
  /// Of each trainable tensor, what this rank owns.
  const std::vector<Part>& parts() const { return parts_; }

  std::size_t buckets() const { return buckets_.size(); }
  std::int64_t bucket_elements(std::size_t bucket) const { return buckets_[bucket].count; }
  /// A bucket of a flat buffer as (world, n), a row for each owner.
  Tensor bucket_of(const Tensor& flat, std::size_t bucket) const;
  /// The rank's own part of a bucket, as (n), in a compact buffer.
  Tensor own_part_of(const Tensor& compact, std::size_t bucket) const;

 private:
  int rank_, world_;
  std::int64_t elements_ = 0;
  std::vector<Bucket> buckets_;
  std::vector<Part> parts_;
};

}  // namespace plumb

// How a matrix product is divided among threads: by rows or by columns of the result, so that every thread
// makes its own part of it from beginning to end and none waits for another.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/matmul.h"
#include "backends/cpu/sgemm.h"
#include "core/parallel_for.h"

namespace plumb::cpu {

class ProductParts {
 public:
  explicit ProductParts(const ProductSizes& sizes)
      : sizes_(sizes),
        by_rows_(sizes.m >= sizes.n),
        length_(by_rows_ ? sizes.m : sizes.n),
        unit_(by_rows_ ? kRowUnit : kColumnUnit) {
    const std::int64_t work = sizes.m * sizes.n * std::max<std::int64_t>(1, sizes.k);
    const std::int64_t most = std::min(length_ / unit_, work / kLeastWork);
    count_ = std::clamp<std::int64_t>(most, 1, thread_count());
  }

  std::int64_t count() const { return count_; }

  ProductSizes sizes(std::int64_t part) const {
    const std::int64_t length = end(part) - begin(part);
    return by_rows_ ? ProductSizes{length, sizes_.n, sizes_.k} : ProductSizes{sizes_.m, length, sizes_.k};
  }

  /// The same product of what the part needs; workspace apart.
  MatmulArguments arguments(const MatmulArguments& whole, std::int64_t part) const {
    const std::int64_t first = begin(part), length = end(part) - first;
    MatmulArguments own = whole;
    if (by_rows_) {
      own.a = whole.transpose_a ? whole.a.columns(first, length) : whole.a.row_range(first, length);
      own.c = whole.c.row_range(first, length);
    } else {
      own.b = whole.transpose_b ? whole.b.row_range(first, length) : whole.b.columns(first, length);
      own.c = whole.c.columns(first, length);
      if (whole.bias.defined()) own.bias = whole.bias.columns(first, length);
    }
    return own;
  }

 private:
  static constexpr std::int64_t kLeastWork = 1 << 18;  ///< multiply-adds that are worth another thread

  std::int64_t begin(std::int64_t part) const {
    return std::min(length_, (length_ + unit_ - 1) / unit_ * part / count_ * unit_);
  }
  std::int64_t end(std::int64_t part) const { return part + 1 == count_ ? length_ : begin(part + 1); }

  ProductSizes sizes_;
  bool by_rows_;
  std::int64_t length_, unit_, count_;
};

}  // namespace plumb::cpu

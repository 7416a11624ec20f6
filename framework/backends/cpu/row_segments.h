// Sums over rows in an order that does not depend on the number of threads: the rows are cut into segments by
// their number alone, each segment is summed in float64, and the segments are added in ascending order.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/workspace_carver.h"
#include "core/parallel_for.h"

namespace plumb::cpu {

class RowSegments {
 public:
  /// Segments have at least `grain` rows and `entries` sums; without entries they only split the rows.
  RowSegments(WorkspaceCarver& carver, std::int64_t rows, std::int64_t grain, std::int64_t entries)
      : rows_(rows),
        count_(std::min(kMaxSegments, (rows + grain - 1) / grain)),
        entries_(entries),
        stride_((entries + 7) / 8 * 8),  // whole cache lines
        sums_(carver.take<double>(count_ * stride_)) {}

  /// Calls body(thread, begin, end, sums) for each segment, with sums of zero to add to.
  template <class Body>
  void run(Body&& body) const {
    parallel_chunks(count_, 1, [&](int thread, std::int64_t first, std::int64_t last) {
      for (std::int64_t segment = first; segment < last; ++segment) {
        double* sums = sums_ + segment * stride_;
        std::fill(sums, sums + entries_, 0.0);
        body(thread, rows_ * segment / count_, rows_ * (segment + 1) / count_, sums);
      }
    });
  }
  /// Chunks that run() uses at most; `thread` is below it.
  std::int64_t threads() const { return std::min<std::int64_t>(count_, thread_count()); }

  /// After run().
  double total(std::int64_t entry) const {
    double sum = 0;
    for (std::int64_t segment = 0; segment < count_; ++segment) sum += sums_[segment * stride_ + entry];
    return sum;
  }
  /// out[i] += total(first + i) for i < count.
  void add_to(float* out, std::int64_t first, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(out[i] + total(first + i));
  }

 private:
  static constexpr std::int64_t kMaxSegments = 128;

  std::int64_t rows_, count_, entries_, stride_;
  double* sums_;
};

}  // namespace plumb::cpu

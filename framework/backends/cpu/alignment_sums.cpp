#include "backends/cpu/alignment_sums.h"

#include <algorithm>

#include "backends/cpu/arguments.h"
#include "core/parallel_for.h"

namespace plumb::cpu {

AlignmentSums::AlignmentSums(const char* op, const AlignmentView& view, std::int64_t cols,
                             WorkspaceCarver& carver)
    : view_(view),
      cols_(cols),
      threads_(view.defined() ? thread_count() : 0),
      scalars_(carver.take<double>(threads_ * kStride)) {
  static_assert(kAlignmentScalars <= kStride);
  if (scalars_ == nullptr) return;
  vector_of<double>(op, "alignment.scalars", view.scalars, kAlignmentScalars);
  std::fill(scalars_, scalars_ + threads_ * kStride, 0.0);
}

void AlignmentSums::store() const {
  if (scalars_ == nullptr) return;
  auto* out = static_cast<double*>(view_.scalars.data);
  for (int thread = 0; thread < threads_; ++thread)
    for (int scalar = 0; scalar < kAlignmentScalars; ++scalar)
      out[scalar] += scalars_[thread * kStride + scalar];
}

}  // namespace plumb::cpu

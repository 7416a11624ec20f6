#include <cmath>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/moment_sums.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {
// Each thread's scalars have cache lines of their own.
constexpr std::int64_t kScalarStride = 16;
static_assert(kMomentScalars <= kScalarStride);
}  // namespace

MomentSums::MomentSums(const char* op, const MomentsView& view, std::int64_t cols, WorkspaceCarver& carver)
    : view_(view),
      cols_(cols),
      threads_(view.defined() ? thread_count() : 0),
      scalars_(carver.take<double>(threads_ * kScalarStride)),
      shift_(carver.take<float>(view.defined() && view.column_sum.defined() ? cols : 0)),
      columns_(carver, view.defined() && view.column_sum.defined() ? 2 : 0, cols) {
  if (scalars_ == nullptr) return;
  vector_of<double>(op, "moments.scalars", view.scalars, kMomentScalars);
  std::fill(scalars_, scalars_ + threads_ * kScalarStride, 0.0);
  if (shift_ == nullptr) return;
  vector_of<double>(op, "moments.column_sum", view.column_sum, cols);
  vector_of<double>(op, "moments.column_square", view.column_square, cols);
  const auto* shift = vector_of<double>(op, "moments.shift", view.shift, cols);
  for (std::int64_t i = 0; i < cols; ++i) {
    shift_[i] = static_cast<float>(shift[i]);
    wide_shift_ = wide_shift_ || !(std::abs(shift_[i]) < 1e15F);
  }
}

void MomentSums::Partial::flush() {
  scalars_[kMomentSumAbs] += static_cast<double>(sum_of_lanes(sum_abs_));
  scalars_[kMomentSumRowVariance] +=
      static_cast<double>(sum_of_lanes(sum_variance_)) / static_cast<double>(cols_);
  scalars_[kMomentSumFourth] += static_cast<double>(sum_of_lanes(sum_fourth_));
  for (std::int64_t lane = 0; lane < kLanes; ++lane)
    scalars_[kMomentMaxAbs] = maximum_or_nan(scalars_[kMomentMaxAbs], static_cast<double>(max_abs_[lane]));
  sum_abs_ = LanesValue{};
  sum_variance_ = LanesValue{};
  sum_fourth_ = LanesValue{};
  additions_ = 0;
}

MomentSums::Partial MomentSums::begin(int thread) const {
  double* scalars = wanted() ? scalars_ + thread * kScalarStride : nullptr;
  return Partial(scalars, shift_, wide_shift_, cols_, columns_.begin(thread));
}

void MomentSums::store() const {
  if (!wanted()) return;
  auto* out = static_cast<double*>(view_.scalars.data);
  double rows = 0;
  for (int thread = 0; thread < threads_; ++thread) {
    const double* partial = scalars_ + thread * kScalarStride;
    rows += partial[kMomentRows];
    for (int sum = 0; sum < kMomentMaxAbs; ++sum) out[sum] += partial[sum];
    for (int maximum = kMomentMaxAbs; maximum < kMomentScalars; ++maximum)
      out[maximum] = maximum_or_nan(out[maximum], partial[maximum]);
  }
  if (shift_ == nullptr) return;
  columns_.combine();
  auto* column_sum = static_cast<double*>(view_.column_sum.data);
  auto* column_square = static_cast<double*>(view_.column_square.data);
  const auto* shift = static_cast<const double*>(view_.shift.data);
  const double *sums = columns_.total(0), *squares = columns_.total(1);
#pragma omp simd
  for (std::int64_t i = 0; i < cols_; ++i) {
    // The rows were taken about the shift rounded to fp32; this moves the sums to the shift itself.
    const double error = static_cast<double>(shift_[i]) - shift[i];
    column_sum[i] += sums[i] + rows * error;
    column_square[i] += squares[i] + 2 * error * sums[i] + rows * error * error;
  }
}

void CpuMoments::moments(Stream&, const MomentsArguments& arguments) const {
  const char* op = "moments";
  PLUMB_CHECK(arguments.moments.defined(), "{}: there is no view to add to", op);
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  WorkspaceCarver carver(arguments.workspace);
  const MomentSums sums(op, arguments.moments, cols, carver);
  with_compute(op, arguments.x.dtype, [&](auto element) {
    using T = decltype(element);
    const Rows<T> x(op, "x", arguments.x, rows, cols);
    parallel_chunks(rows, row_grain(cols, kCheapElements),
                    [&](int thread, std::int64_t begin, std::int64_t end) {
                      MomentSums::Partial partial = sums.begin(thread);
                      partial.add_rows(x, begin, end - begin);
                      partial.finish();
                    });
  });
  sums.store();
}

std::size_t CpuMoments::moments_workspace(const MomentsArguments& arguments) const {
  WorkspaceCarver carver;
  MomentSums("moments", arguments.moments, arguments.x.cols(), carver);
  return carver.bytes();
}

}  // namespace plumb::cpu

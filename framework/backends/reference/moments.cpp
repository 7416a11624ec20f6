#include <algorithm>
#include <cmath>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"
#include "core/maximum.h"

namespace plumb::reference {
namespace {

template <class T>
void add_column_moments(const char* op, const Tensor& x, const MomentsView& view) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  const Rows<T> xs(op, "x", x, rows, cols);
  const Vector<double> shift(op, "moments.shift", view.shift, cols);
  const Vector<double> column_sum(op, "moments.column_sum", view.column_sum, cols);
  const Vector<double> column_square(op, "moments.column_square", view.column_square, cols);
  for (std::int64_t i = 0; i < cols; ++i) {
    double sum = 0, square = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      const double deviation = xs[r][i] - shift[i];
      sum += deviation;
      square += deviation * deviation;
    }
    column_sum[i] += sum;
    column_square[i] += square;
  }
}

template <class T>
void add_scalar_moments(const char* op, const Tensor& x, const MomentsView& view) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  const Rows<T> xs(op, "x", x, rows, cols);
  const Vector<double> scalars(op, "moments.scalars", view.scalars, kMomentScalars);
  double all = 0, all_abs = 0, all_squares = 0, all_fourths = 0, all_variances = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    double sum = 0, sum_abs = 0, squares = 0;
    for (std::int64_t i = 0; i < cols; ++i) {
      const double value = xs[r][i];
      sum += value;
      sum_abs += std::abs(value);
      squares += value * value;
      all_fourths += value * value * value * value;
      if (!(std::abs(value) <= double{kLargestFloat16})) scalars[kMomentOverflows] += 1;
      scalars[kMomentMaxAbs] = maximum_or_nan(scalars[kMomentMaxAbs], std::abs(value));
    }
    const double mean = sum / static_cast<double>(cols);
    double variance = 0;
    for (std::int64_t i = 0; i < cols; ++i) variance += (xs[r][i] - mean) * (xs[r][i] - mean);
    all += sum;
    all_abs += sum_abs;
    all_squares += squares;
    all_variances += variance / static_cast<double>(cols);
    scalars[kMomentMaxRowSquares] = maximum_or_nan(scalars[kMomentMaxRowSquares], squares);
  }
  scalars[kMomentRows] += static_cast<double>(rows);
  scalars[kMomentSumAbs] += all_abs;
  scalars[kMomentSumSquares] += all_squares;
  scalars[kMomentSumRowVariance] += all_variances;
  scalars[kMomentSum] += all;
  scalars[kMomentSumFourth] += all_fourths;
}

}  // namespace

void accumulate_moments(const char* op, const Tensor& x, const MomentsView& view) {
  if (!view.defined()) return;
  with_scalar(op, x.dtype, [&](auto scalar) {
    using T = decltype(scalar);
    add_scalar_moments<T>(op, x, view);
    if (view.column_sum.defined()) add_column_moments<T>(op, x, view);
  });
}

void ReferenceMoments::moments(Stream&, const MomentsArguments& arguments) const {
  PLUMB_CHECK(arguments.moments.defined(), "moments: there is no view to add to");
  accumulate_moments("moments", arguments.x, arguments.moments);
}

std::size_t ReferenceMoments::moments_workspace(const MomentsArguments&) const { return 0; }

}  // namespace plumb::reference

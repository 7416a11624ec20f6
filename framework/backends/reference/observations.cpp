#include <algorithm>
#include <cmath>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"
#include "core/maximum.h"

namespace plumb::reference {
namespace {

template <class T>
void add_row_squares(const RowSquares& arguments) {
  const char* op = "row_squares";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const Vector<double> sum(op, "sum", arguments.sum, 1);
  const auto largest = Vector<double>::optional(op, "largest", arguments.largest, 1);
  double all = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    double squares = 0;
    for (std::int64_t i = 0; i < cols; ++i) squares += static_cast<double>(x[r][i]) * x[r][i];
    all += squares;
    if (largest) largest[0] = maximum_or_nan(largest[0], squares);
  }
  sum[0] += all;
}

/// Adds the number of entries of which `counts` says so.
template <class T, class Counts>
void add_count(const char* op, const Tensor& tensor, const Tensor& count_view, Counts&& counts) {
  const std::int64_t rows = tensor.rows(), cols = tensor.cols();
  const Rows<T> x(op, "x", tensor, rows, cols);
  const Vector<double> count(op, "count", count_view, 1);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; ++i) count[0] += counts(static_cast<double>(x[r][i])) ? 1 : 0;
}

template <class T>
void take_column_maxima(const ColumnMaxima& arguments) {
  const char* op = "column_maxima";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const auto bias = Vector<T>::optional(op, "bias", arguments.bias, cols);
  const Vector<double> maxima(op, "maxima", arguments.maxima, cols);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; ++i)
      maxima[i] = maximum_or_nan(maxima[i], x[r][i] + (bias ? static_cast<double>(bias[i]) : 0.0));
}

template <class T>
void add_histogram(const MagnitudeHistogram& arguments) {
  const char* op = "magnitude_histogram";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const Vector<double> counts(op, "counts", arguments.counts, kMagnitudeBins);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < cols; ++i) counts[magnitude_bin(x[r][i])] += 1;
}

/// Pair by pair: the sum over s != t of the cosines, over T (T - 1).
template <class T>
double similarity_of(const Rows<T>& x, std::int64_t first, std::int64_t tokens, std::int64_t cols) {
  const auto dot = [&](std::int64_t s, std::int64_t t) {
    double sum = 0;
    for (std::int64_t i = 0; i < cols; ++i) sum += static_cast<double>(x[first + s][i]) * x[first + t][i];
    return sum;
  };
  double sum = 0;
  for (std::int64_t s = 0; s < tokens; ++s) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      const double s_square = dot(s, s), t_square = dot(t, t);
      if (s == t || s_square == 0 || t_square == 0) {
        sum += 0 * dot(s, t);  // NaN where something is not finite
      } else {
        sum += dot(s, t) / (std::sqrt(s_square) * std::sqrt(t_square));
      }
    }
  }
  return sum / (static_cast<double>(tokens) * static_cast<double>(tokens - 1));
}

template <class T>
void add_similarity(const TokenSimilarity& arguments) {
  const char* op = "token_similarity";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const std::int64_t tokens = arguments.rows_per_sequence;
  PLUMB_CHECK(tokens >= 1 && rows % tokens == 0, "{}: {} rows are no sequences of {}", op, rows, tokens);
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const Vector<double> sums(op, "sums", arguments.sums, kSimilaritySums);
  if (tokens == 1) return;
  for (std::int64_t first = 0; first < rows; first += tokens) {
    sums[kSimilarity] += similarity_of(x, first, tokens, cols);
    sums[kSimilaritySequences] += 1;
  }
}

}  // namespace

void ReferenceObservations::row_squares(Stream&, const RowSquares& arguments) const {
  with_scalar("row_squares", arguments.x.dtype,
              [&](auto scalar) { add_row_squares<decltype(scalar)>(arguments); });
}

void ReferenceObservations::count_above(Stream&, const CountAbove& arguments) const {
  with_scalar("count_above", arguments.x.dtype, [&](auto scalar) {
    add_count<decltype(scalar)>("count_above", arguments.x, arguments.count,
                                [&](double x) { return x > arguments.threshold; });
  });
}

void ReferenceObservations::count_saturated(Stream&, const CountSaturated& arguments) const {
  const char* op = "count_saturated";
  with_scalar(op, arguments.x.dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const Vector<T> alpha(op, "alpha", arguments.alpha, 1);
    const auto offset = Vector<T>::optional(op, "offset", arguments.offset, 1);
    add_count<T>(op, arguments.x, arguments.count, [&](double x) {
      return std::abs(alpha[0] * x + (offset ? static_cast<double>(offset[0]) : 0.0)) > arguments.limit;
    });
  });
}

void ReferenceObservations::column_maxima(Stream&, const ColumnMaxima& arguments) const {
  with_scalar("column_maxima", arguments.x.dtype,
              [&](auto scalar) { take_column_maxima<decltype(scalar)>(arguments); });
}

void ReferenceObservations::magnitude_histogram(Stream&, const MagnitudeHistogram& arguments) const {
  with_scalar("magnitude_histogram", arguments.x.dtype,
              [&](auto scalar) { add_histogram<decltype(scalar)>(arguments); });
}

void ReferenceObservations::token_similarity(Stream&, const TokenSimilarity& arguments) const {
  with_scalar("token_similarity", arguments.x.dtype,
              [&](auto scalar) { add_similarity<decltype(scalar)>(arguments); });
}

}  // namespace plumb::reference

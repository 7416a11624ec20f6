#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/workspace_carver.h"
#include "core/error.h"
#include "core/maximum.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

/// The sum of squares of a row; in float64 where fp32 would lose more than rounding.
template <class T>
double row_square(const T* row, std::int64_t cols) {
  constexpr std::int64_t kPiece = 4096;  // of a longer fp32 sum the rounding would show
  double square = 0;
  for (std::int64_t first = 0; first < cols; first += kPiece) {
    const std::int64_t count = std::min(kPiece, cols - first);
    square += static_cast<double>(dot(row + first, row + first, count));
  }
  if (square > 1e-27 && square < 1e30) return square;
  double wide = 0;
#pragma omp simd reduction(+ : wide)
  for (std::int64_t i = 0; i < cols; ++i) {
    const auto x = static_cast<double>(static_cast<float>(row[i]));
    wide += x * x;
  }
  return wide;
}

/// Sums per block of rows, which are then added in order: so that threads do not matter.
struct RowSquareBlocks {
  static constexpr std::int64_t kRows = 64;
  std::int64_t count;
  double *sums, *largest;

  RowSquareBlocks(const RowSquares& arguments, WorkspaceCarver& carver)
      : count((arguments.x.rows() + kRows - 1) / kRows),
        sums(carver.take<double>(count)),
        largest(carver.take<double>(count)) {}
};

template <class T>
void add_row_squares(const RowSquares& arguments) {
  const char* op = "row_squares";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  double* sum = vector_of<double>(op, "sum", arguments.sum, 1);
  double* largest = optional_vector<double>(op, "largest", arguments.largest, 1);
  WorkspaceCarver carver(arguments.workspace);
  const RowSquareBlocks blocks(arguments, carver);
  constexpr std::int64_t kRows = RowSquareBlocks::kRows;
  parallel_for(blocks.count, row_grain(kRows * cols, kCheapElements), [&](std::int64_t block) {
    double all = 0, most = 0;
    for (std::int64_t r = block * kRows; r < std::min(rows, (block + 1) * kRows); ++r) {
      const double square = row_square(x[r], cols);
      all += square;
      most = maximum_or_nan(most, square);
    }
    blocks.sums[block] = all;
    blocks.largest[block] = most;
  });
  for (std::int64_t block = 0; block < blocks.count; ++block) {
    *sum += blocks.sums[block];
    if (largest != nullptr) *largest = maximum_or_nan(*largest, blocks.largest[block]);
  }
}

/// One counter of each thread, on a cache line of its own.
struct ThreadCounts {
  static constexpr std::int64_t kStride = 8;
  int threads = thread_count();
  std::int64_t* counts;

  explicit ThreadCounts(WorkspaceCarver& carver) : counts(carver.take<std::int64_t>(threads * kStride)) {
    if (counts != nullptr) std::fill(counts, counts + threads * kStride, 0);
  }
};
std::size_t counts_workspace() {
  WorkspaceCarver carver;
  ThreadCounts{carver};
  return carver.bytes();
}

/// Adds the number of entries of which `counts` says so.
template <class T, class Counts>
void add_count(const char* op, const Tensor& tensor, const Tensor& count_view, const Workspace& workspace,
               Counts&& counts) {
  const std::int64_t rows = tensor.rows(), cols = tensor.cols();
  const Rows<T> x(op, "x", tensor, rows, cols);
  double* count = vector_of<double>(op, "count", count_view, 1);
  WorkspaceCarver carver(workspace);
  const ThreadCounts threads(carver);
  parallel_chunks(rows, row_grain(cols, kCheapElements),
                  [&](int thread, std::int64_t begin, std::int64_t end) {
                    std::int64_t number = 0;
                    for (std::int64_t r = begin; r < end; ++r)
                      for (std::int64_t i = 0; i < cols; ++i)
                        number += counts(static_cast<double>(static_cast<float>(x[r][i]))) ? 1 : 0;
                    threads.counts[thread * ThreadCounts::kStride] = number;
                  });
  for (int thread = 0; thread < threads.threads; ++thread)
    *count += static_cast<double>(threads.counts[thread * ThreadCounts::kStride]);
}

template <class T>
void take_column_maxima(const ColumnMaxima& arguments) {
  const char* op = "column_maxima";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const float* bias = optional_vector<float>(op, "bias", arguments.bias, cols);
  double* maxima = vector_of<double>(op, "maxima", arguments.maxima, cols);
  if (rows == 0) return;
  WorkspaceCarver carver(arguments.workspace);
  float* most = carver.take<float>(cols);
  // A thread has columns of its own, so there is nothing to combine.
  const std::int64_t grain = std::max<std::int64_t>(64, kCheapElements / rows);
  parallel_chunks(cols, grain, [&](int, std::int64_t begin, std::int64_t end) {
    std::fill(most + begin, most + end, -std::numeric_limits<float>::infinity());
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* row = x[r];
#pragma omp simd
      for (std::int64_t i = begin; i < end; ++i) {
        const auto value = static_cast<float>(row[i]);
        most[i] = most[i] >= value || most[i] != most[i] ? most[i] : value;
      }
    }
    for (std::int64_t i = begin; i < end; ++i)
      maxima[i] = maximum_or_nan(
          maxima[i], static_cast<double>(most[i]) + (bias != nullptr ? static_cast<double>(bias[i]) : 0.0));
  });
}

struct ThreadBins {
  int threads = thread_count();
  std::int64_t* counts;

  explicit ThreadBins(WorkspaceCarver& carver) : counts(carver.take<std::int64_t>(threads * kMagnitudeBins)) {
    if (counts != nullptr) std::fill(counts, counts + threads * kMagnitudeBins, 0);
  }
};

template <class T>
void add_histogram(const MagnitudeHistogram& arguments) {
  const char* op = "magnitude_histogram";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  double* counts = vector_of<double>(op, "counts", arguments.counts, kMagnitudeBins);
  WorkspaceCarver carver(arguments.workspace);
  const ThreadBins bins(carver);
  parallel_chunks(rows, row_grain(cols, kCheapElements),
                  [&](int thread, std::int64_t begin, std::int64_t end) {
                    std::int64_t* mine = bins.counts + thread * kMagnitudeBins;
                    for (std::int64_t r = begin; r < end; ++r)
                      for (std::int64_t i = 0; i < cols; ++i)
                        ++mine[magnitude_bin(static_cast<float>(x[r][i]))];
                  });
  for (int thread = 0; thread < bins.threads; ++thread)
    for (int bin = 0; bin < kMagnitudeBins; ++bin)
      counts[bin] += static_cast<double>(bins.counts[thread * kMagnitudeBins + bin]);
}

}  // namespace

void CpuObservations::row_squares(Stream&, const RowSquares& arguments) const {
  with_compute("row_squares", arguments.x.dtype,
               [&](auto element) { add_row_squares<decltype(element)>(arguments); });
}
std::size_t CpuObservations::row_squares_workspace(const RowSquares& arguments) const {
  WorkspaceCarver carver;
  RowSquareBlocks(arguments, carver);
  return carver.bytes();
}

void CpuObservations::count_above(Stream&, const CountAbove& arguments) const {
  with_compute("count_above", arguments.x.dtype, [&](auto element) {
    add_count<decltype(element)>("count_above", arguments.x, arguments.count, arguments.workspace,
                                 [&](double x) { return x > arguments.threshold; });
  });
}
std::size_t CpuObservations::count_above_workspace(const CountAbove&) const { return counts_workspace(); }

void CpuObservations::count_saturated(Stream&, const CountSaturated& arguments) const {
  const char* op = "count_saturated";
  // In float64 the product of two floats is exact, so all backends count alike.
  const auto alpha = static_cast<double>(*vector_of<float>(op, "alpha", arguments.alpha, 1));
  const float* offset = optional_vector<float>(op, "offset", arguments.offset, 1);
  const double shift = offset != nullptr ? static_cast<double>(*offset) : 0.0;
  with_compute(op, arguments.x.dtype, [&](auto element) {
    add_count<decltype(element)>(op, arguments.x, arguments.count, arguments.workspace,
                                 [&](double x) { return std::abs(alpha * x + shift) > arguments.limit; });
  });
}
std::size_t CpuObservations::count_saturated_workspace(const CountSaturated&) const {
  return counts_workspace();
}

void CpuObservations::column_maxima(Stream&, const ColumnMaxima& arguments) const {
  with_compute("column_maxima", arguments.x.dtype,
               [&](auto element) { take_column_maxima<decltype(element)>(arguments); });
}
std::size_t CpuObservations::column_maxima_workspace(const ColumnMaxima& arguments) const {
  WorkspaceCarver carver;
  carver.take<float>(arguments.x.cols());
  return carver.bytes();
}

void CpuObservations::magnitude_histogram(Stream&, const MagnitudeHistogram& arguments) const {
  with_compute("magnitude_histogram", arguments.x.dtype,
               [&](auto element) { add_histogram<decltype(element)>(arguments); });
}
std::size_t CpuObservations::magnitude_histogram_workspace(const MagnitudeHistogram&) const {
  WorkspaceCarver carver;
  ThreadBins{carver};
  return carver.bytes();
}

}  // namespace plumb::cpu

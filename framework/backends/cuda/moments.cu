#include "backends/cuda/device/column_sums.cuh"
#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/row_moments.cuh"
#include "backends/cuda/moments.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kWarpRows = 4;  // rows that a warp works on at once

template <class T>
struct Source {
  const T* x;
  std::int64_t stride, rows, rows_each;
  int cols;
  const double* shift;                             // (cols), null: no column moments
  double *scalars, *column_sums, *column_squares;  // as in MomentsScratch
};

/// One lane's share of the column moments of its warp's rows, for one chunk of columns.
template <int kPack>
struct ColumnMoments {
  double shift[kPack] = {}, sums[kPack] = {}, squares[kPack] = {};

  __device__ __forceinline__ void add(int j, float value) {
    const double deviation = static_cast<double>(value) - shift[j];
    sums[j] += deviation;
    squares[j] += deviation * deviation;
  }
};

/// Adds up the warps, in order, and adds that to the row block's partial sums, which nobody else touches;
/// `first`: they hold nothing yet.
template <class Layout, class T>
__device__ void leave_columns(const Source<T>& source, const ColumnMoments<Layout::kPack>& moments,
                              const Layout& layout, int chunk, bool first) {
  PLUMB_SHARED(double, scratch, [2][kWarps][Layout::kStep]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  __syncthreads();
#pragma unroll
  for (int j = 0; j < Layout::kPack; ++j) {
    scratch[0][warp][j * kWarp + layout.lane] = moments.sums[j];
    scratch[1][warp][j * kWarp + layout.lane] = moments.squares[j];
  }
  __syncthreads();
  for (int entry = threadIdx.x; entry < Layout::kStep; entry += kThreads) {
    const int column = Layout::column_of(chunk, entry % kWarp, entry / kWarp);
    if (column >= layout.width) continue;
    const std::int64_t place = std::int64_t{blockIdx.x} * source.cols + column;
    double sum = first ? 0.0 : source.column_sums[place], square = first ? 0.0 : source.column_squares[place];
    for (int other = 0; other < kWarps; ++other) {
      sum += scratch[0][other][entry];
      square += scratch[1][other][entry];
    }
    source.column_sums[place] = sum;
    source.column_squares[place] = square;
  }
}

/// Scalars of one thread, over all its rows.
struct ThreadScalars {
  EntryMoments entries;
  double squares = 0, variances = 0, largest_squares = 0;

  __device__ __forceinline__ void add_row(const RowMoments::Result& row) {
    squares += row.squares;
    variances += row.variance;
    largest_squares = maximum_or_nan(largest_squares, row.squares);
  }
};

template <class T>
__device__ void leave_scalars(const Source<T>& source, const ThreadScalars& scalars, std::int64_t rows) {
  PLUMB_SHARED(double, scratch, [kWarps]);
  const auto leave = [&](int scalar, double value, auto operation) {
    const double total = block_reduce<kThreads>(value, operation, &scratch[0]);
    if (threadIdx.x == 0) source.scalars[scalar * gridDim.x + blockIdx.x] = total;
  };
  leave(kMomentRows, threadIdx.x == 0 ? static_cast<double>(rows) : 0.0, Add{});
  leave(kMomentSumAbs, scalars.entries.sum_abs, Add{});
  leave(kMomentSumSquares, scalars.squares, Add{});
  leave(kMomentSumRowVariance, scalars.variances, Add{});
  leave(kMomentOverflows, static_cast<double>(scalars.entries.overflows), Add{});
  leave(kMomentSum, scalars.entries.sum, Add{});
  leave(kMomentSumFourth, scalars.entries.sum_fourth, Add{});
  leave(kMomentMaxAbs, static_cast<double>(scalars.entries.max_abs), MaximumOrNan{});
  leave(kMomentMaxRowSquares, scalars.largest_squares, MaximumOrNan{});
}

/// A block has the rows of one row block, kWarps * kWarpRows at a time. Reads x once; moments of rows and of
/// columns come from the same values.
template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads) moments_kernel(Source<T> source) {
  using Layout = RowLayout<T, kWarp, kVector>;
  constexpr int kPack = Layout::kPack;
  const Layout layout{static_cast<int>(threadIdx.x) % kWarp, source.cols};
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t begin = blockIdx.x * source.rows_each;
  const std::int64_t end = begin + source.rows_each < source.rows ? begin + source.rows_each : source.rows;
  ThreadScalars scalars;
  for (std::int64_t tile = begin; tile < end; tile += kWarps * kWarpRows) {
    const std::int64_t first_row = tile + warp * kWarpRows;
    RowMoments rows[kWarpRows];
    for (int chunk = 0; chunk * Layout::kStep < source.cols; ++chunk) {
      typename Layout::Packed packs[kWarpRows];
#pragma unroll
      for (int k = 0; k < kWarpRows; ++k)
        if (first_row + k < end) packs[k] = layout.read(source.x + (first_row + k) * source.stride, chunk);
      ColumnMoments<kPack> columns;
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        if (!layout.holds(chunk, j)) continue;
        if (source.shift != nullptr) columns.shift[j] = source.shift[layout.column(chunk, j)];
#pragma unroll
        for (int k = 0; k < kWarpRows; ++k) {
          if (first_row + k >= end) continue;
          const float value = to_float(packs[k].values[j]);
          rows[k].add(value);
          scalars.entries.add(value);
          if (source.shift != nullptr) columns.add(j, value);
        }
      }
      if (source.shift != nullptr) leave_columns(source, columns, layout, chunk, tile == begin);
    }
#pragma unroll
    for (int k = 0; k < kWarpRows; ++k) {
      const RowMoments::Result row = rows[k].over_warp();
      if (layout.lane == 0 && first_row + k < end) scalars.add_row(row);
    }
  }
  leave_scalars(source, scalars, end - begin);
}

/// Block s adds scalar s of the row blocks, (kMomentScalars, row blocks), to the view's.
__global__ void __launch_bounds__(kThreads)
    moment_scalars_kernel(const double* partials, std::int64_t row_blocks, double* scalars) {
  PLUMB_SHARED(double, scratch, [kWarps]);
  const auto scalar = static_cast<int>(blockIdx.x);
  const double* mine = partials + scalar * row_blocks;
  const bool maximum = scalar >= kMomentMaxAbs;
  double value = 0;
  for (std::int64_t block = threadIdx.x; block < row_blocks; block += kThreads)
    value = maximum ? maximum_or_nan(value, mine[block]) : value + mine[block];
  const double total = maximum ? block_reduce<kThreads>(value, MaximumOrNan{}, &scratch[0])
                               : block_reduce<kThreads>(value, Add{}, &scratch[0]);
  if (threadIdx.x == 0)
    scalars[scalar] = maximum ? maximum_or_nan(scalars[scalar], total) : scalars[scalar] + total;
}

}  // namespace

void launch_moments(cudaStream_t stream, const Tensor& x, const MomentsView& view,
                    const MomentsScratch& scratch) {
  if (!view.defined() || x.elements() == 0) return;
  const bool columns = view.column_sum.defined();
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const Source<T> source{static_cast<const T*>(x.data),
                           x.row_stride,
                           x.rows(),
                           scratch.row_blocks.rows_each,
                           static_cast<int>(x.cols()),
                           columns ? static_cast<const double*>(view.shift.data) : nullptr,
                           scratch.scalars,
                           scratch.column_sums,
                           scratch.column_squares};
    launch({"moments", dim3(static_cast<unsigned>(scratch.row_blocks.count)), dim3(kThreads), 0, stream},
           vector_access(x.cols(), {x}) ? moments_kernel<T, true> : moments_kernel<T, false>, source);
  });
  launch({"moment scalars", dim3(kMomentScalars), dim3(kThreads), 0, stream}, moment_scalars_kernel,
         scratch.scalars, scratch.row_blocks.count, static_cast<double*>(view.scalars.data));
  if (!columns) return;
  ColumnSums<double, double> sums;
  sums.add(scratch.column_sums, scratch.row_blocks.count, x.cols(),
           static_cast<double*>(view.column_sum.data));
  sums.add(scratch.column_squares, scratch.row_blocks.count, x.cols(),
           static_cast<double*>(view.column_square.data));
  launch_column_sums("column moments", stream, sums);
}

}  // namespace plumb::cuda

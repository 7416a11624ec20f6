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
  double *scalars, *column_sums, *column_squares;  // as in MomentsScratch; no scalars: columns only
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
  PLUMB_SHARED(double, scratch, [kWarps]);
  EntryMoments entries;
  TeamMoments team = {};  // of the warp, in its first lane
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
          if (source.scalars != nullptr) entries.add(value, rows[k]);
          if (source.shift != nullptr) columns.add(j, value);
        }
      }
      if (source.shift != nullptr) leave_columns(source, columns, layout, chunk, tile == begin);
    }
    if (source.scalars == nullptr) continue;
#pragma unroll
    for (int k = 0; k < kWarpRows; ++k) {
      const double sum = warp_reduce(rows[k].sum, Add{}), squares = warp_reduce(rows[k].squares, Add{});
      if (layout.lane == 0 && first_row + k < end) team.add_row(sum, squares, source.cols);
    }
  }
  if (source.scalars != nullptr)
    leave_moments<kThreads>(source.scalars, end - begin, entries, team, &scratch[0]);
}

/// Block (s, v) adds scalar s of view v over the blocks that left partial sums.
__global__ void __launch_bounds__(kThreads) scalar_sums_kernel(const ScalarSums all) {
  PLUMB_SHARED(double, scratch, [kWarps]);
  const ScalarSum sum = all.sums[blockIdx.y];
  const auto scalar = static_cast<int>(blockIdx.x);
  if (scalar >= sum.scalars) return;  // the whole block
  const double* mine = sum.partials + scalar * all.blocks;
  const bool maximum = scalar >= sum.first_maximum;
  double value = 0;
  for (std::int64_t block = threadIdx.x; block < all.blocks; block += kThreads)
    value = maximum ? maximum_or_nan(value, mine[block]) : value + mine[block];
  const double total = maximum ? block_reduce<kThreads>(value, MaximumOrNan{}, &scratch[0])
                               : block_reduce<kThreads>(value, Add{}, &scratch[0]);
  if (threadIdx.x == 0)
    sum.out[scalar] = maximum ? maximum_or_nan(sum.out[scalar], total) : sum.out[scalar] + total;
}

void launch_pass(cudaStream_t stream, const Tensor& x, const MomentsView& view, const MomentsScratch& scratch,
                 bool scalars) {
  const bool columns = view.column_sum.defined();
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const Source<T> source{static_cast<const T*>(x.data),
                           x.row_stride,
                           x.rows(),
                           scratch.row_blocks.rows_each,
                           static_cast<int>(x.cols()),
                           columns ? static_cast<const double*>(view.shift.data) : nullptr,
                           scalars ? scratch.scalars : nullptr,
                           scratch.column_sums,
                           scratch.column_squares};
    launch({"moments", dim3(static_cast<unsigned>(scratch.row_blocks.count)), dim3(kThreads), 0, stream},
           vector_access(x.cols(), {x}) ? moments_kernel<T, true> : moments_kernel<T, false>, source);
  });
  if (!columns) return;
  ColumnSums<double, double> sums;
  sums.add(scratch.column_sums, scratch.row_blocks.count, x.cols(),
           static_cast<double*>(view.column_sum.data));
  sums.add(scratch.column_squares, scratch.row_blocks.count, x.cols(),
           static_cast<double*>(view.column_square.data));
  launch_column_sums("column moments", stream, sums);
}

}  // namespace

void launch_moments(cudaStream_t stream, const Tensor& x, const MomentsView& view,
                    const MomentsScratch& scratch) {
  if (!view.defined() || x.elements() == 0) return;
  launch_pass(stream, x, view, scratch, true);
  ScalarSums sums(scratch.row_blocks.count);
  sums.add(scratch.scalars, view);
  launch_scalar_sums(stream, sums);
}

void launch_column_moments(cudaStream_t stream, const Tensor& x, const MomentsView& view,
                           const MomentsScratch& scratch) {
  if (view.defined() && view.column_sum.defined() && x.elements() > 0)
    launch_pass(stream, x, view, scratch, false);
}

void launch_scalar_sums(cudaStream_t stream, const ScalarSums& all) {
  int scalars = 0;
  for (int i = 0; i < all.count; ++i) scalars = all.sums[i].scalars > scalars ? all.sums[i].scalars : scalars;
  if (scalars == 0) return;
  launch({"moment scalars", dim3(static_cast<unsigned>(scalars), static_cast<unsigned>(all.count)),
          dim3(kThreads), 0, stream},
         scalar_sums_kernel, all);
}

}  // namespace plumb::cuda

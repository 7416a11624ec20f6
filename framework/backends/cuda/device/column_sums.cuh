// Sums over the rows of a matrix, feature by feature, in an order that the shapes alone decide: gradients of
// biases, gains and coefficients, column moments.
//
// Two steps. First a kernel of the op cuts the rows into blocks (cut_rows); each block of threads leaves its
// sums as one row of a matrix of partial sums, (terms, features), in the workspace. ColumnWalk is a layout
// for such kernels, where a thread stays with its columns and goes down the rows. Then launch_column_sums
// adds up the rows of the matrices, in float64, and adds the totals to what the outputs hold. No atomics: the
// same bits in every run.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/device/row_layout.cuh"
#include "backends/cuda/row_blocks.h"

namespace plumb::cuda {

// ---------------------------------------------------------------- first step: a walk down the rows

/// The part of a (rows, cols) matrix that a block of kWalkThreads threads goes through: a chunk of kStep
/// neighbouring columns, of which lane l of every warp has one pack, and the rows of one row block, which
/// the warps take in turn. Launch with walk_grid() and kWalkThreads.
///
///   const ColumnWalk<T, kVector> walk(shape);
///   float sums[kPack] = {};
///   walk.for_rows([&](std::int64_t row) { ... walk.layout.read(x + row * stride, walk.chunk, values) ... });
///   walk.leave_columns(sums, partials);   // all threads of the block
///
/// Every thread reaches leave_columns and leave_total, whether or not it has columns or rows.
template <class T, bool kVector>
struct ColumnWalk {
  using Layout = RowLayout<T, kWarp, kVector>;
  static constexpr int kPack = Layout::kPack;
  static constexpr int kWarps = kWalkThreads / kWarp;

  Layout layout;
  int chunk;
  std::int64_t row_block, begin, end;
  int warp;

  __device__ __forceinline__ explicit ColumnWalk(const WalkShape& shape)
      : layout{static_cast<int>(threadIdx.x) % kWarp, shape.cols},
        chunk(static_cast<int>(blockIdx.x) % shape.chunks),
        row_block(static_cast<int>(blockIdx.x) / shape.chunks),
        begin(row_block * shape.row_blocks.rows_each),
        end(begin + shape.row_blocks.rows_each < shape.rows ? begin + shape.row_blocks.rows_each
                                                            : shape.rows),
        warp(static_cast<int>(threadIdx.x) / kWarp) {}

  /// Calls body(row) for this warp's rows, if this lane has columns.
  template <class Body>
  __device__ __forceinline__ void for_rows(Body&& body) const {
    if (!layout.holds_any(chunk)) return;
    for (std::int64_t row = begin + warp; row < end; row += kWarps) body(row);
  }

  /// partials (row_blocks, cols): adds up what the warps hold for the same columns, warps in ascending order,
  /// and writes it into the row of this row block. `first` shifts the columns, `cols` is the row length.
  __device__ __forceinline__ void leave_columns(const float (&sums)[kPack], float* partials,
                                                std::int64_t cols, std::int64_t first = 0) const {
    PLUMB_SHARED(float, scratch, [kWarps][Layout::kStep]);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kPack; ++j) scratch[warp][j * kWarp + layout.lane] = sums[j];
    __syncthreads();
    for (int entry = threadIdx.x; entry < Layout::kStep; entry += kWalkThreads) {
      const int column = Layout::column_of(chunk, entry % kWarp, entry / kWarp);
      if (column >= layout.width) continue;
      float total = scratch[0][entry];
#pragma unroll
      for (int other = 1; other < kWarps; ++other) total += scratch[other][entry];
      partials[row_block * cols + first + column] = total;
    }
  }
  /// partials (row_blocks * chunks): the sum over the block's columns too, for a feature that all share.
  __device__ __forceinline__ void leave_total(const float (&sums)[kPack], float* partials) const {
    PLUMB_SHARED(float, scratch, [kWarps]);
    float total = 0;
#pragma unroll
    for (int j = 0; j < kPack; ++j) total += sums[j];
    total = block_reduce<kWalkThreads>(total, Add{}, &scratch[0]);
    if (threadIdx.x == 0) partials[blockIdx.x] = total;
  }
};

// ---------------------------------------------------------------- second step: adding up

/// out[i] += sum over t of partials[t * features + i], for i < features: a matrix (terms, features) without
/// gaps. Partials of a gain that `groups` share, (row blocks, groups * width), are a matrix
/// (row blocks * groups, width).
template <class Partial, class Out>
struct ColumnSum {
  const Partial* partials = nullptr;
  Out* out = nullptr;
  std::int64_t terms = 0, features = 0;
};

/// Up to four of them in one launch.
template <class Partial, class Out>
struct ColumnSums {
  static constexpr int kMost = 4;
  ColumnSum<Partial, Out> sums[kMost];
  int count = 0;

  void add(const Partial* partials, std::int64_t terms, std::int64_t features, Out* out) {
    sums[count++] = {partials, out, terms, features};
  }
};

namespace detail {
inline constexpr int kColumnThreads = 256;

/// How many features a block adds up; the other threads share the terms of each.
__host__ __device__ constexpr int columns_at_once(std::int64_t features) {
  return features >= kWarp ? kWarp : 1;
}

/// Block (x, y) has columns_at_once(features) features of sum y. Thread s of a feature adds the s-th slice of
/// its terms in ascending order; slices are added in pairs.
template <class Partial, class Out>
__global__ void __launch_bounds__(kColumnThreads) column_sums_kernel(ColumnSums<Partial, Out> all) {
  PLUMB_SHARED(double, scratch, [kColumnThreads]);
  const ColumnSum<Partial, Out> sum = all.sums[blockIdx.y];
  const int columns = columns_at_once(sum.features), slices = kColumnThreads / columns;
  const int column = static_cast<int>(threadIdx.x) % columns, slice = static_cast<int>(threadIdx.x) / columns;
  const std::int64_t feature = std::int64_t{blockIdx.x} * columns + column;
  if (std::int64_t{blockIdx.x} * columns >= sum.features) return;  // the whole block
  double total = 0;
  if (feature < sum.features) {
    const std::int64_t begin = sum.terms * slice / slices, end = sum.terms * (slice + 1) / slices;
#pragma unroll 4
    for (std::int64_t term = begin; term < end; ++term)
      total += static_cast<double>(sum.partials[term * sum.features + feature]);
  }
  scratch[threadIdx.x] = total;
  for (int half = slices / 2; half > 0; half /= 2) {
    __syncthreads();
    if (slice < half) scratch[threadIdx.x] += scratch[threadIdx.x + half * columns];
  }
  if (slice == 0 && feature < sum.features)
    sum.out[feature] = static_cast<Out>(static_cast<double>(sum.out[feature]) + scratch[threadIdx.x]);
}
}  // namespace detail

/// Reads the partial sums once. Nothing happens when there are none.
template <class Partial, class Out>
void launch_column_sums(const char* name, cudaStream_t stream, const ColumnSums<Partial, Out>& all) {
  std::int64_t blocks = 0;
  for (int i = 0; i < all.count; ++i) {
    const std::int64_t columns = detail::columns_at_once(all.sums[i].features);
    blocks = std::max(blocks, (all.sums[i].features + columns - 1) / columns);
  }
  if (blocks == 0) return;
  launch({name, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(all.count)),
          dim3(detail::kColumnThreads), 0, stream},
         detail::column_sums_kernel<Partial, Out>, all);
}

// ---------------------------------------------------------------- both steps for a plain matrix

namespace detail {
template <class T, bool kVector>
__global__ void __launch_bounds__(kWalkThreads)
    row_sum_kernel(WalkShape shape, const T* x, std::int64_t stride, float* partials) {
  constexpr int kPack = kPackOf<T>;
  const ColumnWalk<T, kVector> walk(shape);
  float sums[kPack] = {};
  walk.for_rows([&](std::int64_t row) {
    float values[kPack];
    walk.layout.read(x + row * stride, walk.chunk, values);
#pragma unroll
    for (int j = 0; j < kPack; ++j) sums[j] += values[j];
  });
  walk.leave_columns(sums, partials, shape.cols);
}
}  // namespace detail

/// out (cols) += the sums over the rows of x (rows, cols), of T. `partials`: row_sum_partials(x) floats of
/// workspace (row_blocks.h). Reads x once.
template <class T>
void launch_row_sum(const char* name, cudaStream_t stream, const Tensor& x, float* out, float* partials) {
  const WalkShape shape(x.rows(), x.cols(), sizeof(T));
  if (shape.blocks() == 0) return;
  const Launch how{name, dim3(static_cast<unsigned>(shape.blocks())), dim3(kWalkThreads), 0, stream};
  const auto kernel =
      vector_access(x.cols(), {x}) ? detail::row_sum_kernel<T, true> : detail::row_sum_kernel<T, false>;
  launch(how, kernel, shape, static_cast<const T*>(x.data), x.row_stride, partials);
  ColumnSums<float, float> sums;
  sums.add(partials, shape.row_blocks.count, x.cols(), out);
  launch_column_sums(name, stream, sums);
}

}  // namespace plumb::cuda

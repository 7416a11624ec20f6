// Tiles of 16-bit elements for the tensor-core attention kernels: in shared memory, as fragments, and the
// products of the two.
#pragma once

#include <cstdint>

#include "backends/cuda/attention_view.cuh"
#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/tensor_core.cuh"

namespace plumb::cuda {

/// Rows in shared memory are 16 bytes longer than their content: the eight rows that a warp reads at once
/// then lie in different banks.
template <int kWidth>
inline constexpr int kTileStride = kWidth + 8;
template <int kWidth>
__host__ __device__ constexpr int tile_elements(int rows) {
  return rows * kTileStride<kWidth>;
}

/// The fp32 fragments of a (16 kRowTiles, kColumns) matrix that a warp holds; see mma_m16n8k16.
template <int kRowTiles, int kColumns>
using Sums = float[kRowTiles][kColumns / 8][4];
/// The same matrix as the left factor of a product, in 16 bits.
template <int kRowTiles, int kColumns>
using Factors = std::uint32_t[kRowTiles][kColumns / 16][4];

/// Where the calling thread's part of a fragment lies: rows row() and row() + 8, columns column() and
/// column() + 1 of each 16x8 tile.
struct Lane {
  int index = static_cast<int>(threadIdx.x) % kWarp;
  __device__ __forceinline__ int row() const { return index / 4; }
  __device__ __forceinline__ int column() const { return index % 4 * 2; }
};

template <class T>
__device__ __forceinline__ std::uint32_t pack_pair(float low, float high);
template <>
__device__ __forceinline__ std::uint32_t pack_pair<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}
template <>
__device__ __forceinline__ std::uint32_t pack_pair<__half>(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

/// All ones in each half of the pair that is infinite or NaN.
template <class T>
__device__ __forceinline__ std::uint32_t not_finite(std::uint32_t pair) {
  constexpr std::uint32_t kExponent = std::is_same_v<T, __half> ? 0x7c00u : 0x7f80u;
  const std::uint32_t low = (pair & kExponent) == kExponent ? 0xffffu : 0u;
  const std::uint32_t high = (pair & kExponent << 16) == kExponent << 16 ? 0xffff0000u : 0u;
  return low | high;
}

/// Starts to copy tokens [first, first + kRows) of a head into a tile, with zeros beyond the last token and
/// the last column. All kThreads threads call it; copy_async_commit and a wait must follow.
template <int kWidth, int kRows, int kThreads, class T>
__device__ __forceinline__ void load_tile(const AttentionView& view, const HeadRows<const T>& source,
                                          int first, T* tile) {
  constexpr int kPack = 8, kRowPacks = kWidth / kPack, kRowsAtOnce = kThreads / kRowPacks;
  static_assert(kThreads % kRowPacks == 0 && kRows % kRowsAtOnce == 0);
  // A thread keeps its columns: from one of its rows to the next both addresses move by the same distance.
  const int first_row = static_cast<int>(threadIdx.x) / kRowPacks;
  const int column = static_cast<int>(threadIdx.x) % kRowPacks * kPack;
  const int rows = column < view.width ? view.tokens - first : 0;
  const T* values = source.row(first + first_row) + column;
  T* target = tile + first_row * kTileStride<kWidth> + column;
  if (view.vectors) {
#pragma unroll 4
    for (int row = first_row; row < kRows; row += kRowsAtOnce) {
      copy_async_16_or_zero(target, values, row < rows);
      values += kRowsAtOnce * source.stride;
      target += kRowsAtOnce * kTileStride<kWidth>;
    }
    return;
  }
#pragma unroll 1
  for (int row = first_row; row < kRows; row += kRowsAtOnce) {
    Pack<T, kPack> pack{};
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (row < rows && column + i < view.width) pack.values[i] = values[i];
    store_pack(target, pack);
    values += kRowsAtOnce * source.stride;
    target += kRowsAtOnce * kTileStride<kWidth>;
  }
}

/// Writes a warp's sums times a factor for each row, through the warp's own rows of a tile, to tokens
/// [first, first + 16 kRowTiles) and columns [first_column, first_column + kColumns) of a head. `rows` is
/// where the tile has the warp's first row and first column; nobody else may use that part any more.
template <int kWidth, int kRowTiles, int kColumns, class T>
__device__ __forceinline__ void store_sums(const AttentionView& view, const Sums<kRowTiles, kColumns>& sums,
                                           const float (&factor)[kRowTiles][2], T* rows,
                                           const HeadRows<T>& target, int first, int first_column) {
  constexpr int kPack = 8, kRowPacks = kColumns / kPack;
  const Lane lane;
  __syncwarp();  // the warp has read its rows for the last time
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        T* place = rows + (16 * tile + 8 * half + lane.row()) * kTileStride<kWidth> + 8 * n + lane.column();
        *reinterpret_cast<std::uint32_t*>(place) = pack_pair<T>(
            sums[tile][n][2 * half] * factor[tile][half], sums[tile][n][2 * half + 1] * factor[tile][half]);
      }
    }
  }
  __syncwarp();
#pragma unroll 4
  for (int at = lane.index; at < 16 * kRowTiles * kRowPacks; at += kWarp) {
    const int token = first + at / kRowPacks, column = at % kRowPacks * kPack;
    const T* place = rows + at / kRowPacks * kTileStride<kWidth> + column;
    if (token >= view.tokens || first_column + column >= view.width) continue;
    T* out = target.row(token) + first_column + column;
    if (view.vectors) {
      store_pack(out, load_pack<Pack<T, kPack>>(place));
      continue;
    }
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (first_column + column + i < view.width) out[i] = place[i];
  }
}

/// The right factor's fragments of two neighbouring column tiles.
struct RightPair {
  std::uint32_t registers[4];
  template <class T>
  __device__ __forceinline__ void multiply(const std::uint32_t (&left)[4], float (&first)[4],
                                           float (&second)[4]) const {
    const std::uint32_t first_tile[2] = {registers[0], registers[1]};
    const std::uint32_t second_tile[2] = {registers[2], registers[3]};
    mma_m16n8k16<T>(first, left, first_tile);
    mma_m16n8k16<T>(second, left, second_tile);
  }
};

/// products (16 kRowTiles, 8 kColumnTiles) = left right^T over kWidth, both tiles in shared memory; `left` is
/// where the warp's own rows begin.
template <int kWidth, class T, int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void multiply_rows(const T* left, const T* right,
                                              float (&products)[kRowTiles][kColumnTiles][4]) {
  constexpr int kStride = kTileStride<kWidth>;
  const int lane = Lane{}.index;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile)
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i) products[tile][n][i] = 0;
  const T* left_row = left + lane % 16 * kStride + lane / 16 * 8;
  const T* right_row = right + (lane / 16 * 8 + lane % 8) * kStride + lane / 8 % 2 * 8;
#pragma unroll
  for (int step = 0; step < kWidth / 16; ++step) {
    std::uint32_t a[kRowTiles][4];
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile)
      load_matrix_x4(a[tile], left_row + 16 * tile * kStride + 16 * step);
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
      RightPair b;
      load_matrix_x4(b.registers, right_row + 16 * pair * kStride + 16 * step);
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile)
        b.multiply<T>(a[tile], products[tile][2 * pair], products[tile][2 * pair + 1]);
    }
  }
}

/// From the layout of sums to that of a left factor; columns of the one are the inner dimension of the other.
template <class T, int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void to_factors(const float (&sums)[kRowTiles][kColumnTiles][4],
                                           std::uint32_t (&factors)[kRowTiles][kColumnTiles / 2][4]) {
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int step = 0; step < kColumnTiles / 2; ++step) {
      const auto &low = sums[tile][2 * step], &high = sums[tile][2 * step + 1];
      factors[tile][step][0] = pack_pair<T>(low[0], low[1]);
      factors[tile][step][1] = pack_pair<T>(low[2], low[3]);
      factors[tile][step][2] = pack_pair<T>(high[0], high[1]);
      factors[tile][step][3] = pack_pair<T>(high[2], high[3]);
    }
  }
}

/// A lane's address of the right factor when that has the inner dimension in its rows.
template <int kStride, class T>
__device__ __forceinline__ const T* inner_row(const T* values) {
  const int lane = Lane{}.index;
  return values + lane % 16 * kStride + lane / 16 * 8;
}

/// sums (16 kRowTiles, kColumns) += factors values, values (kInner, kColumns) in shared memory.
template <int kStride, class T, int kRowTiles, int kInnerSteps, int kColumnTiles>
__device__ __forceinline__ void add_product(const std::uint32_t (&factors)[kRowTiles][kInnerSteps][4],
                                            const T* values, float (&sums)[kRowTiles][kColumnTiles][4]) {
  const T* row = inner_row<kStride>(values);
#pragma unroll
  for (int step = 0; step < kInnerSteps; ++step) {
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
      RightPair b;
      load_matrix_x4_transposed(b.registers, row + 16 * step * kStride + 16 * pair);
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile)
        b.multiply<T>(factors[tile][step], sums[tile][2 * pair], sums[tile][2 * pair + 1]);
    }
  }
}

/// Which inner indices of a product a row of its left factor sees: those up to row + offset, or from there
/// on.
struct VisibleInner {
  int offset;
  bool from_there;
  __device__ __forceinline__ float operator()(int row, int inner) const {
    return (from_there ? inner >= row + offset : inner <= row + offset) ? 1.0f : 0.0f;
  }
};

/// Adds NaN to the sums that a value reaches which is not finite and visible. Counts such values with the
/// tensor cores: the product of the mask and the values' indicator.
template <int kStride, int kInnerSteps, class T, int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void spread_not_finite(const T* values, const VisibleInner& visible,
                                                  float (&sums)[kRowTiles][kColumnTiles][4]) {
  const T* row = inner_row<kStride>(values);
  const Lane lane;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
      float first[4] = {}, second[4] = {};
#pragma unroll 1
      for (int step = 0; step < kInnerSteps; ++step) {
        // From the lane's first row and column on.
        const VisibleInner here{visible.offset + lane.row() - lane.column() + 16 * (tile - step),
                                visible.from_there};
        std::uint32_t mask[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int at = i % 2 * 8, inner = i / 2 * 8;
          mask[i] = pack_pair<T>(here(at, inner), here(at, inner + 1));
        }
        RightPair b;
        load_matrix_x4_transposed(b.registers, row + 16 * step * kStride + 16 * pair);
#pragma unroll
        for (int i = 0; i < 4; ++i) b.registers[i] = not_finite<T>(b.registers[i]) & pack_pair<T>(1, 1);
        b.multiply<T>(mask, first, second);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (first[i] > 0) sums[tile][2 * pair][i] = __int_as_float(0x7fffffff);
        if (second[i] > 0) sums[tile][2 * pair + 1][i] = __int_as_float(0x7fffffff);
      }
    }
  }
}

/// As add_product where factors are 0 at pairs that are masked: a value that is not finite must not make NaN
/// of that 0. Such values are replaced by 0, so that the other rows get exactly what they get without them,
/// and what does see one becomes NaN.
template <int kStride, class T, int kRowTiles, int kInnerSteps, int kColumnTiles>
__device__ __forceinline__ void add_masked_product(const std::uint32_t (&factors)[kRowTiles][kInnerSteps][4],
                                                   const T* values, const VisibleInner& visible,
                                                   float (&sums)[kRowTiles][kColumnTiles][4]) {
  const T* row = inner_row<kStride>(values);
  std::uint32_t found = 0;
#pragma unroll
  for (int step = 0; step < kInnerSteps; ++step) {
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
      RightPair b;
      load_matrix_x4_transposed(b.registers, row + 16 * step * kStride + 16 * pair);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t bad = not_finite<T>(b.registers[i]);
        found |= bad;
        b.registers[i] &= ~bad;
      }
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile)
        b.multiply<T>(factors[tile][step], sums[tile][2 * pair], sums[tile][2 * pair + 1]);
    }
  }
  if (__any_sync(kWholeWarp, found != 0)) spread_not_finite<kStride, kInnerSteps>(values, visible, sums);
}

}  // namespace plumb::cuda

// Blocks of the factors of an fp32 product in the order in which tiles (avx2_tile.h) read them. For sources
// compiled with -mavx2.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "backends/cpu/avx2_tile.h"

namespace plumb::cpu::avx2 {

/// (kLanes, kLanes) floats of from, whose rows are from_stride apart, transposed to rows kTileColumns apart.
inline void transpose_lanes(const float* from, std::int64_t from_stride, float* to) {
  __m256 rows[kLanes], pairs[kLanes];
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; ++i) rows[i] = _mm256_loadu_ps(from + i * from_stride);
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  // Rows of four elements: in rows[i] those of columns i and i + 4 of the source, of its rows 0 to 3; in
  // rows[i + 4] of its rows 4 to 7.
#pragma GCC unroll 2
  for (int half = 0; half < kLanes; half += 4) {
    rows[half] = _mm256_shuffle_ps(pairs[half], pairs[half + 2], 0x44);
    rows[half + 1] = _mm256_shuffle_ps(pairs[half], pairs[half + 2], 0xee);
    rows[half + 2] = _mm256_shuffle_ps(pairs[half + 1], pairs[half + 3], 0x44);
    rows[half + 3] = _mm256_shuffle_ps(pairs[half + 1], pairs[half + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_store_ps(to + i * kTileColumns, _mm256_permute2f128_ps(rows[i], rows[i + 4], 0x20));
    _mm256_store_ps(to + (i + 4) * kTileColumns, _mm256_permute2f128_ps(rows[i], rows[i + 4], 0x31));
  }
}

/// kTileColumns columns of a right factor that lies transposed, as (columns, depth).
inline void pack_transposed_columns(const float* from, std::int64_t stride, std::int64_t depth, float* to) {
  std::int64_t p = 0;
  for (; p + kLanes <= depth; p += kLanes) {
    transpose_lanes(from + p, stride, to + p * kTileColumns);
    transpose_lanes(from + kLanes * stride + p, stride, to + p * kTileColumns + kLanes);
  }
  for (; p < depth; ++p) {
    for (std::int64_t i = 0; i < kTileColumns; ++i) to[p * kTileColumns + i] = from[i * stride + p];
  }
}

/// Fewer columns than a tile has, and zeros for the others. Element (p, i) lies at
/// p * depth_stride + i * column_stride.
inline void pack_some_columns(const float* from, std::int64_t depth_stride, std::int64_t column_stride,
                              std::int64_t depth, std::int64_t columns, float* to) {
  for (std::int64_t p = 0; p < depth; ++p) {
    for (std::int64_t i = 0; i < kTileColumns; ++i)
      to[p * kTileColumns + i] = i < columns ? from[p * depth_stride + i * column_stride] : 0.0F;
  }
}

/// (depth, columns) of the right factor, tile after tile of kTileColumns columns, the last one filled up with
/// zeros. from is its first element; transposed, element (p, j) lies at j * stride + p. to is aligned to 32
/// bytes.
inline void pack_right(const float* from, std::int64_t stride, bool transposed, std::int64_t depth,
                       std::int64_t columns, float* to) {
  const std::int64_t whole = columns / kTileColumns * kTileColumns;
  if (transposed) {
    for (std::int64_t j = 0; j < whole; j += kTileColumns)
      pack_transposed_columns(from + j * stride, stride, depth, to + j * depth);
  } else {
    // Row by row: in the order of memory.
    for (std::int64_t p = 0; p < depth; ++p) {
      const float* row = from + p * stride;
      for (std::int64_t i = 0; i < whole + 15; i += 16) __builtin_prefetch(row + 8 * stride + i);
      for (std::int64_t j = 0; j < whole; j += kLanes) {
        float* tile = to + j / kTileColumns * kTileColumns * depth + j % kTileColumns;
        _mm256_store_ps(tile + p * kTileColumns, _mm256_loadu_ps(row + j));
      }
    }
  }
  if (whole == columns) return;
  pack_some_columns(from + whole * (transposed ? stride : 1), transposed ? 1 : stride,
                    transposed ? stride : 1, depth, columns - whole, to + whole * depth);
}

/// Floats from the kTileRows rows of one tile to those of the next, where they are packed: whole vectors are
/// stored, of which the last one reaches beyond its tile.
inline std::int64_t left_tile_floats(std::int64_t depth) { return depth * kTileRows + kLanes; }

/// (rows, depth) of a left factor that lies transposed, element (i, p) at p * stride + i: kTileRows rows
/// after kTileRows rows as LeftRows. At least `rows` elements after from, and at most `readable` ones, belong
/// to its matrix. Row by row of that: a row's stride may be one at which a cache holds few lines.
inline void pack_transposed_left(const float* from, std::int64_t stride, std::int64_t rows,
                                 std::int64_t readable, std::int64_t depth, float* to) {
  const std::int64_t tile_floats = left_tile_floats(depth);
  for (std::int64_t p = 0; p < depth; ++p) {
    const float* row = from + p * stride;
    float* tile = to + p * kTileRows;
    for (std::int64_t i = 0; i < rows + 15; i += 16) __builtin_prefetch(row + 8 * stride + i);
    for (std::int64_t i = 0; i < rows; i += kTileRows, tile += tile_floats) {
      if (i + kLanes <= readable) {
        _mm256_storeu_ps(tile, _mm256_loadu_ps(row + i));
      } else {
        for (std::int64_t r = 0; r < std::min(kTileRows, rows - i); ++r) tile[r] = row[i + r];
      }
    }
  }
}

}  // namespace plumb::cpu::avx2

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

/// kTileColumns columns of a right factor that lies as (depth, columns).
inline void pack_columns(const float* from, std::int64_t stride, std::int64_t depth, float* to) {
  for (std::int64_t p = 0; p < depth; ++p) {
    _mm256_store_ps(to + p * kTileColumns, _mm256_loadu_ps(from + p * stride));
    _mm256_store_ps(to + p * kTileColumns + kLanes, _mm256_loadu_ps(from + p * stride + kLanes));
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

/// (depth, columns) of the right factor, tile after tile of kTileColumns columns, the last one filled up with
/// zeros. from is its first element; transposed, element (p, j) lies at j * stride + p. to is aligned to 32
/// bytes.
inline void pack_right(const float* from, std::int64_t stride, bool transposed, std::int64_t depth,
                       std::int64_t columns, float* to) {
  for (std::int64_t first = 0; first < columns; first += kTileColumns, to += depth * kTileColumns) {
    const float* tile = from + first * (transposed ? stride : 1);
    const std::int64_t count = std::min(kTileColumns, columns - first);
    if (count == kTileColumns) {
      transposed ? pack_transposed_columns(tile, stride, depth, to) : pack_columns(tile, stride, depth, to);
      continue;
    }
    for (std::int64_t p = 0; p < depth; ++p) {
      for (std::int64_t i = 0; i < kTileColumns; ++i)
        to[p * kTileColumns + i] = i < count ? tile[transposed ? i * stride + p : p * stride + i] : 0.0F;
    }
  }
}

/// (rows, depth) of a left factor that lies transposed, element (i, p) at p * stride + i: kTileRows rows
/// after kTileRows rows as LeftRows. Writes kLanes - kTileRows floats behind them too.
inline void pack_transposed_left(const float* from, std::int64_t stride, std::int64_t rows,
                                 std::int64_t depth, float* to) {
  for (std::int64_t first = 0; first < rows; first += kTileRows, to += depth * kTileRows) {
    const float* tile = from + first;
    if (first + kLanes <= rows) {
      // Whole vectors: what is too much the next one overwrites.
      for (std::int64_t p = 0; p < depth; ++p)
        _mm256_storeu_ps(to + p * kTileRows, _mm256_loadu_ps(tile + p * stride));
      continue;
    }
    const std::int64_t count = std::min(kTileRows, rows - first);
    for (std::int64_t p = 0; p < depth; ++p) {
      for (std::int64_t r = 0; r < count; ++r) to[p * kTileRows + r] = tile[p * stride + r];
    }
  }
}

}  // namespace plumb::cpu::avx2

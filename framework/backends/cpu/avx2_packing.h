// Blocks of the factors of a^T b in the order in which tiles (avx2_tile.h) read them. Both factors lie with
// depth as their rows. They are read in the order of memory, with rows fetched ahead: a block's rows may be
// far apart, at a distance at which a cache holds few of them and the processor foresees none. For sources
// compiled with -mavx2.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "backends/cpu/avx2_tile.h"

namespace plumb::cpu::avx2 {

inline void fetch_row(const float* row, std::int64_t floats) {
  constexpr std::int64_t kLine = 16;
  for (std::int64_t i = 0; i < floats; i += kLine) __builtin_prefetch(row + i);
}

inline constexpr std::int64_t kRowsAhead = 8;

/// (depth, columns) of b: kTileColumns columns after kTileColumns columns, the last ones filled up with
/// zeros. to is aligned to 32 bytes.
inline void pack_right(const float* from, std::int64_t stride, std::int64_t depth, std::int64_t columns,
                       float* to) {
  const std::int64_t whole = columns / kTileColumns * kTileColumns;
  for (std::int64_t p = 0; p < depth; ++p, from += stride, to += kTileColumns) {
    if (p + kRowsAhead < depth) fetch_row(from + kRowsAhead * stride, columns);
    for (std::int64_t j = 0; j < whole; j += kTileColumns) {
      _mm256_store_ps(to + j * depth, _mm256_loadu_ps(from + j));
      _mm256_store_ps(to + j * depth + kLanes, _mm256_loadu_ps(from + j + kLanes));
    }
    for (std::int64_t j = whole; j < columns; ++j) to[whole * depth + j - whole] = from[j];
    if (whole == columns) continue;
    for (std::int64_t i = columns - whole; i < kTileColumns; ++i) to[whole * depth + i] = 0.0F;
  }
}

/// Floats from the kTileRows rows of one tile to those of the next in what pack_left makes: whole vectors are
/// stored, of which the last one reaches beyond its tile.
constexpr std::int64_t left_tile_floats(std::int64_t depth) { return depth * kTileRows + kLanes; }

/// (depth, rows) of a: kTileRows rows of the result after kTileRows rows. So many floats of a row of a may be
/// read: `readable`, at least `rows`.
inline void pack_left(const float* from, std::int64_t stride, std::int64_t depth, std::int64_t rows,
                      std::int64_t readable, float* to) {
  const std::int64_t tile_floats = left_tile_floats(depth);
  for (std::int64_t p = 0; p < depth; ++p, from += stride, to += kTileRows) {
    if (p + kRowsAhead < depth) fetch_row(from + kRowsAhead * stride, rows);
    float* tile = to;
    for (std::int64_t i = 0; i < rows; i += kTileRows, tile += tile_floats) {
      if (i + kLanes <= readable) {
        _mm256_storeu_ps(tile, _mm256_loadu_ps(from + i));
      } else {
        for (std::int64_t r = 0; r < std::min(kTileRows, rows - i); ++r) tile[r] = from[i + r];
      }
    }
  }
}

}  // namespace plumb::cpu::avx2

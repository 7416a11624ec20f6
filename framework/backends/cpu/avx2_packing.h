// Blocks of the factors of a product in the order in which tiles (avx2_tile.h) read them. Where memory's rows
// are depths (pack_right, pack_left) they are read in its order, with rows fetched ahead: a block's rows may
// be far apart, at a distance at which a cache holds few of them and the processor foresees none. The others
// transpose squares of 8; of a, the next block is fetched while one is multiplied (RowsAhead). Element:
// float, or the bits of a bfloat16, which are widened. For sources compiled with -mavx2.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "backends/cpu/avx2_tile.h"

namespace plumb::cpu::avx2 {

/// Our own: a copy of std::min that was compiled for AVX2 could be taken elsewhere too.
constexpr std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

inline __m256 load_lanes(const float* data) { return _mm256_loadu_ps(data); }
inline __m256 load_lanes(const std::uint16_t* data) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline float widened(float value) { return value; }
inline float widened(std::uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
}

/// Elements in a line of a cache.
template <class Element>
inline constexpr std::int64_t kLine = 64 / sizeof(Element);

template <class Element>
void fetch_row(const Element* row, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += kLine<Element>) __builtin_prefetch(row + i);
}

inline constexpr std::int64_t kRowsAhead = 8;

/// (depth, columns) of b: kTileColumns columns after kTileColumns columns, the last ones filled up with
/// zeros. to is aligned to 32 bytes.
template <class Element>
void pack_right(const Element* from, std::int64_t stride, std::int64_t depth, std::int64_t columns,
                float* to) {
  const std::int64_t whole = columns / kTileColumns * kTileColumns;
  for (std::int64_t p = 0; p < depth; ++p, from += stride, to += kTileColumns) {
    if (p + kRowsAhead < depth) fetch_row(from + kRowsAhead * stride, columns);
    for (std::int64_t j = 0; j < whole; j += kTileColumns) {
      _mm256_store_ps(to + j * depth, load_lanes(from + j));
      _mm256_store_ps(to + j * depth + kLanes, load_lanes(from + j + kLanes));
    }
    for (std::int64_t j = whole; j < columns; ++j) to[whole * depth + j - whole] = widened(from[j]);
    if (whole == columns) continue;
    for (std::int64_t i = columns - whole; i < kTileColumns; ++i) to[whole * depth + i] = 0.0F;
  }
}

using Square = __m256[kLanes];

[[gnu::always_inline]] inline void transpose(Square& rows) {
  Square pair;
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; i += 2) {
    pair[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
  Square quad;
#pragma GCC unroll 8
  for (int i = 0; i < kLanes; i += 4) {
    quad[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
    quad[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xEE);
    quad[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
    quad[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    rows[i] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20);
    rows[i + 4] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31);
  }
}

/// The same of a b that is transposed in memory: (columns, depth) in rows of `stride`.
template <class Element>
void pack_right_transposed(const Element* from, std::int64_t stride, std::int64_t depth, std::int64_t columns,
                           float* to) {
  const std::int64_t whole_columns = columns / kLanes * kLanes, whole_depth = depth / kLanes * kLanes;
  const auto place = [&](std::int64_t column, std::int64_t p) {
    return to + column / kTileColumns * kTileColumns * depth + p * kTileColumns + column % kTileColumns;
  };
  for (std::int64_t j = 0; j < whole_columns; j += kLanes) {
    for (std::int64_t p = 0; p < whole_depth; p += kLanes) {
      Square square;
#pragma GCC unroll 8
      for (int i = 0; i < kLanes; ++i) square[i] = load_lanes(from + (j + i) * stride + p);
      transpose(square);
#pragma GCC unroll 8
      for (int i = 0; i < kLanes; ++i) _mm256_store_ps(place(j, p + i), square[i]);
    }
  }
  const std::int64_t padded = (columns + kTileColumns - 1) / kTileColumns * kTileColumns;
  for (std::int64_t j = 0; j < padded; ++j) {
    for (std::int64_t p = j < whole_columns ? whole_depth : 0; p < depth; ++p)
      *place(j, p) = j < columns ? widened(from[j * stride + p]) : 0.0F;
  }
}

/// Floats from the kTileRows rows of one tile to those of the next in what pack_left makes: whole vectors are
/// stored, of which the last one reaches beyond its tile.
constexpr std::int64_t left_tile_floats(std::int64_t depth) { return depth * kTileRows + kLanes; }

/// (depth, rows) of a: kTileRows rows of the result after kTileRows rows. So many elements of a row of a may
/// be read: `readable`, at least `rows`.
template <class Element>
void pack_left(const Element* from, std::int64_t stride, std::int64_t depth, std::int64_t rows,
               std::int64_t readable, float* to) {
  const std::int64_t tile_floats = left_tile_floats(depth);
  for (std::int64_t p = 0; p < depth; ++p, from += stride, to += kTileRows) {
    if (p + kRowsAhead < depth) fetch_row(from + kRowsAhead * stride, rows);
    float* tile = to;
    for (std::int64_t i = 0; i < rows; i += kTileRows, tile += tile_floats) {
      if (i + kLanes <= readable) {
        _mm256_storeu_ps(tile, load_lanes(from + i));
      } else {
        for (std::int64_t r = 0; r < smaller(kTileRows, rows - i); ++r) tile[r] = widened(from[i + r]);
      }
    }
  }
}

/// The same of an a with depth along its rows: (rows, depth).
template <class Element>
void pack_left_rows(const Element* from, std::int64_t stride, std::int64_t depth, std::int64_t rows,
                    float* to) {
  const std::int64_t whole_depth = depth / kLanes * kLanes;
  for (std::int64_t i = 0; i < rows; i += kTileRows, to += left_tile_floats(depth)) {
    const Element* tile_row[kTileRows];  // rows beyond the last one are that one again: nobody reads them
    for (std::int64_t r = 0; r < kTileRows; ++r) tile_row[r] = from + smaller(i + r, rows - 1) * stride;
    for (std::int64_t p = 0; p < whole_depth; p += kLanes) {
      Square square;
#pragma GCC unroll 8
      for (int r = 0; r < kLanes; ++r) square[r] = load_lanes(tile_row[r < kTileRows ? r : 0] + p);
      transpose(square);
#pragma GCC unroll 8
      for (int q = 0; q < kLanes; ++q) _mm256_storeu_ps(to + (p + q) * kTileRows, square[q]);
    }
    for (std::int64_t p = whole_depth; p < depth; ++p) {
      for (std::int64_t r = 0; r < kTileRows; ++r) to[p * kTileRows + r] = widened(tile_row[r][p]);
    }
  }
}

/// Rows that come to the second cache, a few lines at a time, while others are multiplied.
template <class Element>
class RowsAhead {
 public:
  RowsAhead() = default;
  /// `steps` is how often step() will be called.
  RowsAhead(const Element* data, std::int64_t stride, std::int64_t rows, std::int64_t length,
            std::int64_t steps)
      : row_(data),
        stride_(stride),
        rows_(rows),
        length_(length),
        lines_a_step_((rows * lines_of(length) + steps - 1) / steps) {}

  void step() {
    for (std::int64_t i = 0; i < lines_a_step_ && rows_ > 0; ++i) {
      __builtin_prefetch(row_ + done_, 0, 2);
      done_ += kLine<Element>;
      if (done_ < length_) continue;
      done_ = 0;
      row_ += stride_;
      --rows_;
    }
  }

 private:
  static std::int64_t lines_of(std::int64_t length) { return (length + kLine<Element> - 1) / kLine<Element>; }

  const Element* row_ = nullptr;
  std::int64_t stride_ = 0, rows_ = 0, length_ = 0, lines_a_step_ = 0, done_ = 0;
};

}  // namespace plumb::cpu::avx2

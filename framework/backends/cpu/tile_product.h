// Products of small fp32 tiles that lie in cache, for ops whose matrices are too small or too short-lived for
// the library. One thread; the compiler's vector types keep the accumulators in registers.
#pragma once

#include <cstdint>

namespace plumb::cpu {

#if defined(__AVX512F__)
inline constexpr std::int64_t kLanes = 16;
inline constexpr int kTileRows = 8;  // 8 x 2 accumulators of 32 registers
#else
inline constexpr std::int64_t kLanes = 8;
inline constexpr int kTileRows = 6;  // 6 x 2 accumulators of 16 registers; 4 x 2 would wait for each other
#endif

/// kLanes floats; a load or store through it needs no alignment.
using Lanes __attribute__((vector_size(kLanes * sizeof(float)), aligned(sizeof(float)), may_alias)) = float;

inline constexpr std::int64_t round_up_to_lanes(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

inline const Lanes& lanes_at(const float* data) { return *reinterpret_cast<const Lanes*>(data); }
inline Lanes& lanes_at(float* data) { return *reinterpret_cast<Lanes*>(data); }

/// The left factor, element (i, p) at data[i * row_stride + p * col_stride]: transposed by swapping strides.
struct LeftTile {
  const float* data;
  std::int64_t row_stride, col_stride;
};

namespace detail {

/// Rows x (Vectors * kLanes) elements of c, with the whole reduction in registers.
template <int Rows, int Vectors, bool kAccumulate>
inline void tile_block(const LeftTile& a, const float* b, std::int64_t stride_b, float* c,
                       std::int64_t stride_c, std::int64_t k) {
  Lanes sums[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      sums[r][v] = kAccumulate ? lanes_at(c + r * stride_c + v * kLanes) : Lanes{};
    }
  }
  for (std::int64_t p = 0; p < k; ++p) {
    Lanes right[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) right[v] = lanes_at(b + p * stride_b + v * kLanes);
    const float* left = a.data + p * a.col_stride;
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) sums[r][v] += left[r * a.row_stride] * right[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) lanes_at(c + r * stride_c + v * kLanes) = sums[r][v];
  }
}

template <int Vectors, bool kAccumulate>
inline void tile_columns(LeftTile a, const float* b, std::int64_t stride_b, float* c, std::int64_t stride_c,
                         std::int64_t m, std::int64_t k) {
  const auto advance = [&](std::int64_t rows) {
    a.data += rows * a.row_stride;
    c += rows * stride_c;
    m -= rows;
  };
  while (m >= kTileRows) {
    tile_block<kTileRows, Vectors, kAccumulate>(a, b, stride_b, c, stride_c, k);
    advance(kTileRows);
  }
  if (m >= 4) {
    tile_block<4, Vectors, kAccumulate>(a, b, stride_b, c, stride_c, k);
    advance(4);
  }
  if (m >= 2) {
    tile_block<2, Vectors, kAccumulate>(a, b, stride_b, c, stride_c, k);
    advance(2);
  }
  if (m >= 1) tile_block<1, Vectors, kAccumulate>(a, b, stride_b, c, stride_c, k);
}

}  // namespace detail

/// c (m, n) = a (m, k) b (k, n), or += with kAccumulate. n is a multiple of kLanes: rows of b and c are
/// padded to it. The order of the sum is that of k.
template <bool kAccumulate>
inline void tile_product(const LeftTile& a, const float* b, std::int64_t stride_b, float* c,
                         std::int64_t stride_c, std::int64_t m, std::int64_t n, std::int64_t k) {
  std::int64_t column = 0;
  for (; column + 2 * kLanes <= n; column += 2 * kLanes) {
    detail::tile_columns<2, kAccumulate>(a, b + column, stride_b, c + column, stride_c, m, k);
  }
  if (column < n) detail::tile_columns<1, kAccumulate>(a, b + column, stride_b, c + column, stride_c, m, k);
}

}  // namespace plumb::cpu

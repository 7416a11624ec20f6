// A tile of an fp32 product in AVX2's registers: up to 6 rows of 16 columns, which leaves 4 of 16 registers
// for what is multiplied. For sources compiled with -mavx2 -mfma; nothing here looks at the processor.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace plumb::cpu::avx2 {

inline constexpr std::int64_t kLanes = 8;
inline constexpr std::int64_t kTileRows = 6, kTileColumns = 2 * kLanes;

/// Up to kTileRows rows of the left factor over one range of depth. Packed: element (row, depth) lies at
/// depth * kTileRows + row. Else it lies in its matrix, at row * stride + depth.
struct LeftRows {
  const float* data;
  std::int64_t stride;  ///< not looked at where packed
};

/// Where a tile goes, and what its sums are added to.
struct TileResult {
  float* data;
  std::int64_t stride;
  const float* start;         ///< null = nothing
  std::int64_t start_stride;  ///< 0 = the same row for all
};

/// result = start + left right. right is packed: the tile's columns one depth after the other, aligned to 32
/// bytes. Every sum is a chain of fused multiply-adds from 0 in order of depth, whatever Rows is.
template <int Rows, bool kPacked>
[[gnu::always_inline]] inline void multiply_tile(LeftRows left, const float* right, std::int64_t depth,
                                                 TileResult result) {
  static_assert(Rows >= 1 && Rows <= kTileRows);
  __m256 sums[Rows][2];
  const float* rows[Rows];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    sums[r][0] = sums[r][1] = _mm256_setzero_ps();
    rows[r] = left.data + r * left.stride;
    // The result comes from memory while the sums are made.
    __builtin_prefetch(result.data + r * result.stride);
    __builtin_prefetch(result.data + r * result.stride + kTileColumns - 1);
  }
#pragma GCC unroll 4
  for (std::int64_t p = 0; p < depth; ++p) {
    const __m256 low = _mm256_load_ps(right + p * kTileColumns);
    const __m256 high = _mm256_load_ps(right + p * kTileColumns + kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const __m256 factor = _mm256_broadcast_ss(kPacked ? left.data + p * kTileRows + r : rows[r] + p);
      sums[r][0] = _mm256_fmadd_ps(factor, low, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(factor, high, sums[r][1]);
    }
  }
  if (result.start != nullptr) {
#pragma GCC unroll 6
    for (int r = 0; r < Rows; ++r) {
      const float* start = result.start + r * result.start_stride;
      sums[r][0] = _mm256_add_ps(sums[r][0], _mm256_loadu_ps(start));
      sums[r][1] = _mm256_add_ps(sums[r][1], _mm256_loadu_ps(start + kLanes));
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    _mm256_storeu_ps(result.data + r * result.stride, sums[r][0]);
    _mm256_storeu_ps(result.data + r * result.stride + kLanes, sums[r][1]);
  }
}

}  // namespace plumb::cpu::avx2

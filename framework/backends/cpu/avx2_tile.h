// A tile of an fp32 product in AVX2's registers: up to 6 rows of 16 columns, which leaves 4 of 16 registers
// for what is multiplied. For sources compiled with -mavx2 -mfma; nothing here looks at the processor.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace plumb::cpu::avx2 {

inline constexpr std::int64_t kLanes = 8;
inline constexpr std::int64_t kTileRows = 6, kTileColumns = 2 * kLanes;

/// The tile of the result.
struct TileResult {
  float* data;
  std::int64_t stride;
  bool accumulate;    ///< else the old values are not read
  const float* bias;  ///< added last, to every row; null = none
};

/// result = left right, or +=, and then + bias: (Rows, kTileColumns) from (Rows, depth) and (depth,
/// kTileColumns). Both factors are packed, one depth after the other: kTileRows floats of left each,
/// kTileColumns of right, which is aligned to 32 bytes. Every sum is a chain of fused multiply-adds from 0 in
/// order of depth, whatever Rows is.
template <int Rows>
[[gnu::always_inline]] inline void multiply_tile(const float* left, const float* right, std::int64_t depth,
                                                 TileResult result) {
  static_assert(Rows >= 1 && Rows <= kTileRows);
  __m256 sums[Rows][2];
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    sums[r][0] = sums[r][1] = _mm256_setzero_ps();
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
      const __m256 factor = _mm256_broadcast_ss(left + p * kTileRows + r);
      sums[r][0] = _mm256_fmadd_ps(factor, low, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(factor, high, sums[r][1]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < Rows; ++r) {
    float* row = result.data + r * result.stride;
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      __m256 sum = sums[r][v];
      if (result.accumulate) sum = _mm256_add_ps(sum, _mm256_loadu_ps(row + v * kLanes));
      if (result.bias != nullptr) sum = _mm256_add_ps(sum, _mm256_loadu_ps(result.bias + v * kLanes));
      _mm256_storeu_ps(row + v * kLanes, sum);
    }
  }
}

}  // namespace plumb::cpu::avx2

// Tiles of the fp32 attention kernels, which use no tensor cores: their products would be rounded to tf32.
#pragma once

#include "backends/cuda/attention_view.cuh"
#include "backends/cuda/device/elements.cuh"

namespace plumb::cuda {

/// A block works on kFloatTile rows against tiles of kFloatTile rows, eight threads to a row: thread `part`
/// of a row has the pairs with inner rows part + 8j and the columns 4 part + 32k + [0, 4).
inline constexpr int kFloatTile = 32, kFloatParts = 8, kFloatThreads = kFloatTile * kFloatParts;
inline constexpr int kFloatPairs = kFloatTile / kFloatParts;

struct FloatThread {
  int row = static_cast<int>(threadIdx.x) / kFloatParts, part = static_cast<int>(threadIdx.x) % kFloatParts;
};

/// A multiple of four floats that is odd in that unit, so that eight rows lie in different banks.
template <int kWidth>
inline constexpr int kFloatStride = kWidth + 4;
template <int kWidth>
inline constexpr int kFloatElements = kFloatTile* kFloatStride<kWidth>;
/// Weights of kFloatTile x kFloatTile pairs, by row.
inline constexpr int kWeightStride = kFloatTile + 1, kWeightElements = kFloatTile * kWeightStride;

/// Blocks that a multiprocessor is to hold, by their registers; wider heads leave no room in shared memory.
template <int kWidth>
inline constexpr int kFloatBlocks = kWidth <= 128 ? 2 : 1;

template <int kWidth>
using FloatSums = float[kWidth / 32][4];

/// Copies tokens [first, first + kFloatTile) of a head into a tile, with zeros beyond the last token and the
/// last column. All threads call it; a barrier must follow.
template <int kWidth>
__device__ __forceinline__ void load_float_tile(const AttentionView& view,
                                                const HeadRows<const float>& source, int first, float* tile) {
  const FloatThread thread;
  const int token = first + thread.row;
#pragma unroll
  for (int k = 0; k < kWidth / 32; ++k) {
    const int column = 4 * thread.part + 32 * k;
    Pack<float, 4> pack{};
    if (token < view.tokens && view.vectors && column < view.width) {
      pack = load_pack<Pack<float, 4>>(source.row(token) + column);
    } else if (token < view.tokens) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (column + i < view.width) pack.values[i] = source.row(token)[column + i];
    }
    store_pack(tile + thread.row * kFloatStride<kWidth> + column, pack);
  }
}

/// products[j] = own row of `rows` . row part + 8j of `tile`.
template <int kWidth>
__device__ __forceinline__ void multiply_float_rows(const AttentionView& view, const float* rows,
                                                    const float* tile, float (&products)[kFloatPairs]) {
  const FloatThread thread;
  const float* row = rows + thread.row * kFloatStride<kWidth>;
  const float* other = tile + thread.part * kFloatStride<kWidth>;
#pragma unroll
  for (int j = 0; j < kFloatPairs; ++j) products[j] = 0;
#pragma unroll 2
  for (int column = 0; column < view.width; column += 4) {
    float left[4];
    load<4>(row + column, left);
#pragma unroll
    for (int j = 0; j < kFloatPairs; ++j) {
      float right[4];
      load<4>(other + kFloatParts * j * kFloatStride<kWidth> + column, right);
#pragma unroll
      for (int i = 0; i < 4; ++i) products[j] += left[i] * right[i];
    }
  }
}

/// sums += over inner rows [begin, end) of the own row's weight times the tile's row. What lies outside is
/// not touched, so it may be anything.
template <int kWidth>
__device__ __forceinline__ void add_float_rows(const AttentionView& view, const float* weights,
                                               const float* tile, int begin, int end,
                                               FloatSums<kWidth>& sums) {
  const FloatThread thread;
#pragma unroll 2
  for (int inner = begin; inner < end; ++inner) {
    const float weight = weights[thread.row * kWeightStride + inner];
    const float* row = tile + inner * kFloatStride<kWidth> + 4 * thread.part;
#pragma unroll
    for (int k = 0; k < kWidth / 32; ++k) {
      if (32 * k >= view.width) break;
      float values[4];
      load<4>(row + 32 * k, values);
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[k][i] += weight * values[i];
    }
  }
}

template <int kWidth>
__device__ __forceinline__ void store_float_sums(const AttentionView& view, const FloatSums<kWidth>& sums,
                                                 float factor, const HeadRows<float>& target, int first) {
  const FloatThread thread;
  const int token = first + thread.row;
  if (token >= view.tokens) return;
#pragma unroll
  for (int k = 0; k < kWidth / 32; ++k) {
    const int column = 4 * thread.part + 32 * k;
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = sums[k][i] * factor;
    if (view.vectors && column < view.width) {
      store<4>(target.row(token) + column, values);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (column + i < view.width) target.row(token)[column + i] = values[i];
    }
  }
}

/// Over the eight threads of a row.
template <class Operation>
__device__ __forceinline__ float row_reduce(float value, Operation operation) {
#pragma unroll
  for (int offset = kFloatParts / 2; offset > 0; offset /= 2)
    value = operation(value, __shfl_xor_sync(kWholeWarp, value, offset));
  return value;
}

}  // namespace plumb::cuda

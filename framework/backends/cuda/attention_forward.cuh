// Attention forward on the tensor cores: FlashAttention-2 (arXiv 2307.08691) with a running softmax. Included
// by one source for each head width.
#pragma once

#include "backends/cuda/attention.h"
#include "backends/cuda/attention_tiles.cuh"
#include "backends/cuda/device/dispatch.cuh"

namespace plumb::cuda {

/// A block of 4 warps owns kQueries queries, a warp 16 kRowTiles of them, and walks over tiles of kKeys keys.
template <int kWidth>
struct ForwardTiles {
  static constexpr int kWarps = 4, kThreads = kWarps * kWarp;
  static constexpr int kRowTiles = kWidth == 64 ? 2 : 1;
  static constexpr int kQueries = 16 * kRowTiles * kWarps;
  static constexpr int kKeys = kWidth == 128 ? 64 : 32;
  using Kept = KeepBits<kQueries, kKeys>;
  /// Queries, and two tiles each of keys and values: one is copied while the other is used.
  static constexpr int kElements = tile_elements<kWidth>(kQueries + 4 * kKeys);
  static std::size_t shared_bytes(const AttentionView& view) {
    return 2 * std::size_t{kElements} + (view.dropout > 0 ? Kept::kWords * sizeof(std::uint32_t) : 0);
  }
};

/// The softmax of a warp's rows, which arrive in tiles (arXiv 1805.02867). `largest` passes over NaN, the sum
/// does not; a sum is the calling lane's part of it until finish().
template <int kRowTiles>
struct RunningSoftmax {
  float largest[kRowTiles][2], sum[kRowTiles][2];

  __device__ __forceinline__ RunningSoftmax() {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half) largest[tile][half] = kMinusInfinity, sum[tile][half] = 0;
  }

  /// Turns logits (-inf where masked) into exp(logit - largest) and brings `mixed` to the same largest.
  template <int kLogitTiles, int kColumnTiles>
  __device__ __forceinline__ void absorb(float (&logits)[kRowTiles][kLogitTiles][4],
                                         float (&mixed)[kRowTiles][kColumnTiles][4]) {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = largest[tile][half];
#pragma unroll
        for (int n = 0; n < kLogitTiles; ++n)
          most = fmaxf(most, fmaxf(logits[tile][n][2 * half], logits[tile][n][2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(kWholeWarp, most, 1));
        most = fmaxf(most, __shfl_xor_sync(kWholeWarp, most, 2));
        const float shift = most == kMinusInfinity ? 0.0f : most * kLog2E;
        const float correction = exp2f(largest[tile][half] * kLog2E - shift);
        largest[tile][half] = most;
        float added = 0;
#pragma unroll
        for (int n = 0; n < kLogitTiles; ++n) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            logits[tile][n][i] = exp2f(logits[tile][n][i] * kLog2E - shift);
            added += logits[tile][n][i];
          }
        }
        sum[tile][half] = sum[tile][half] * correction + added;
#pragma unroll
        for (int n = 0; n < kColumnTiles; ++n)
          mixed[tile][n][2 * half] *= correction, mixed[tile][n][2 * half + 1] *= correction;
      }
    }
  }

  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        sum[tile][half] += __shfl_xor_sync(kWholeWarp, sum[tile][half], 1);
        sum[tile][half] += __shfl_xor_sync(kWholeWarp, sum[tile][half], 2);
      }
    }
  }
};

/// -inf in place of the logits of masked pairs.
template <int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void mask_logits(const AttentionView& view, int first_query, int first_key,
                                            float (&logits)[kRowTiles][kColumnTiles][4]) {
  const Lane lane;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first_query + 16 * tile + 8 * half + lane.row();
      const int last = view.last_visible(query) - first_key - lane.column();
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
        if (8 * n > last) logits[tile][n][2 * half] = kMinusInfinity;
        if (8 * n + 1 > last) logits[tile][n][2 * half + 1] = kMinusInfinity;
      }
    }
  }
}

/// 0 in place of the weights that dropout drops.
template <int kRowTiles, int kColumnTiles, class Kept>
__device__ __forceinline__ void drop_weights(const Kept& kept, int warp_row,
                                             float (&weights)[kRowTiles][kColumnTiles][4]) {
  const Lane lane;
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
        const int row = warp_row + 16 * tile + 8 * half + lane.row();
        const std::uint32_t bits = kept.word(row, n / 4) >> lane.column();
        if ((bits >> 8 * (n % 4) & 1u) == 0) weights[tile][n][2 * half] = 0;
        if ((bits >> 8 * (n % 4) & 2u) == 0) weights[tile][n][2 * half + 1] = 0;
      }
    }
  }
}

/// Reads q once, k and v once for each query tile (from L2 but for the first); writes out, the row
/// statistics, and the largest logit of the block if `largest` is not null.
template <class T, int kWidth>
__global__ void __launch_bounds__(ForwardTiles<kWidth>::kThreads,
                                  kArchitecture == 100 && kWidth == 128 ? 2 : 0)
    attention_forward_kernel(AttentionView view, HeadRows<const T> q, HeadRows<const T> k,
                             HeadRows<const T> v, HeadRows<T> out, float* log_sum_exp, float* largest) {
  using Tiles = ForwardTiles<kWidth>;
  constexpr int kRowTiles = Tiles::kRowTiles, kKeys = Tiles::kKeys, kThreads = Tiles::kThreads;
  constexpr int kKeyElements = tile_elements<kWidth>(kKeys);
  PLUMB_DYNAMIC_SHARED(T, shared);
  T* q_tile = shared;
  T* k_tiles = q_tile + tile_elements<kWidth>(Tiles::kQueries);
  T* v_tiles = k_tiles + 2 * kKeyElements;
  const typename Tiles::Kept kept{reinterpret_cast<std::uint32_t*>(v_tiles + 2 * kKeyElements)};

  const int tiles = (view.tokens + Tiles::kQueries - 1) / Tiles::kQueries;
  const AttentionPlace place(view, tiles);
  const int block_query = (view.causal ? place.last_first(tiles) : place.tile) * Tiles::kQueries;
  const int warp_row = static_cast<int>(threadIdx.x) / kWarp * 16 * kRowTiles;
  const int first_query = block_query + warp_row;
  const int limit = view.causal ? min(view.tokens, block_query + Tiles::kQueries) : view.tokens;
  const int key_tiles = (limit + kKeys - 1) / kKeys;
  const HeadRows<const T> head_k = k.of(view, place), head_v = v.of(view, place);
  const auto load_keys = [&](int tile) {
    load_tile<kWidth, kKeys, kThreads>(view, head_k, tile * kKeys, k_tiles + tile % 2 * kKeyElements);
    load_tile<kWidth, kKeys, kThreads>(view, head_v, tile * kKeys, v_tiles + tile % 2 * kKeyElements);
    copy_async_commit();
  };
  load_tile<kWidth, Tiles::kQueries, kThreads>(view, q.of(view, place), block_query, q_tile);
  load_keys(0);

  Sums<kRowTiles, kWidth> mixed = {};
  RunningSoftmax<kRowTiles> softmax;
  for (int tile = 0; tile < key_tiles; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // everyone's copies are there, and everyone is done with the tiles before
    if (tile + 1 < key_tiles) load_keys(tile + 1);
    const int first_key = tile * kKeys;
    if (view.dropout > 0) {
      kept.template draw<kThreads>(view, place, block_query, first_key);
      __syncthreads();
    }
    if (view.causal && first_key >= first_query + 16 * kRowTiles) continue;  // this warp sees none of them

    Sums<kRowTiles, kKeys> logits;
    multiply_rows<kWidth>(q_tile + warp_row * kTileStride<kWidth>, k_tiles + tile % 2 * kKeyElements, logits);
#pragma unroll
    for (int row = 0; row < kRowTiles; ++row)
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) to_logits(view, logits[row][n]);
    const bool diagonal = view.causal && first_key + kKeys - 1 > first_query;
    if (diagonal || first_key + kKeys > view.tokens) mask_logits(view, first_query, first_key, logits);
    softmax.absorb(logits, mixed);
    if (view.dropout > 0) drop_weights(kept, warp_row, logits);
    Factors<kRowTiles, kKeys> weights;
    to_factors<T>(logits, weights);
    const T* values = v_tiles + tile % 2 * kKeyElements;
    if (diagonal) {
      const VisibleInner visible{first_query - first_key, false};
      add_masked_product<kTileStride<kWidth>>(weights, values, visible, mixed);
    } else {
      add_product<kTileStride<kWidth>>(weights, values, mixed);
    }
  }

  softmax.finish();
  const Lane lane;
  float factor[kRowTiles][2], most = kMinusInfinity;
#pragma unroll
  for (int row = 0; row < kRowTiles; ++row) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = first_query + 16 * row + 8 * half + lane.row();
      const float sum = softmax.sum[row][half];
      factor[row][half] = view.kept / sum;
      // No visible logit above -inf: log 0 - inf, where the sum of nothing is NaN.
      const float value = sum != 0 ? softmax.largest[row][half] + logf(sum) : __int_as_float(0x7fffffff);
      if (query >= view.tokens) continue;
      most = maximum_or_nan(most, value != value ? value : softmax.largest[row][half]);
      if (lane.column() == 0) log_sum_exp[place.first_token(view) + query] = value;
    }
  }
  store_sums<kWidth, kRowTiles, kWidth>(view, mixed, factor, q_tile + warp_row * kTileStride<kWidth>,
                                        out.of(view, place), first_query, 0);
  if (largest == nullptr) return;
  PLUMB_SHARED(float, scratch, [Tiles::kWarps]);
  most = block_reduce<kThreads>(most, MaximumOrNan(), scratch);
  if (threadIdx.x == 0) largest[blockIdx.x] = most;
}

template <class T, int kWidth>
int launch_forward_instance(cudaStream_t stream, const AttentionForward& arguments, float* largest) {
  using Tiles = ForwardTiles<kWidth>;
  const AttentionShape& shape = arguments.shape;
  const AttentionView view(shape, {arguments.q, arguments.k, arguments.v, arguments.out});
  const int blocks =
      static_cast<int>(shape.batch * shape.heads) * attention_tiles(shape.tokens, Tiles::kQueries);
  launch({"attention_forward", dim3(static_cast<unsigned>(blocks)), dim3(Tiles::kThreads),
          Tiles::shared_bytes(view), stream},
         attention_forward_kernel<T, kWidth>, view, HeadRows<const T>(arguments.q),
         HeadRows<const T>(arguments.k), HeadRows<const T>(arguments.v), HeadRows<T>(arguments.out),
         static_cast<float*>(arguments.log_sum_exp.data), largest);
  return blocks;
}

}  // namespace plumb::cuda

// Attention backward on the tensor cores (FlashAttention-2, arXiv 2307.08691), without atomics: one kernel
// owns tiles of keys and walks over queries for dk and dv, another owns tiles of queries and walks over keys
// for dq. Both recompute the probabilities, so it takes 4 + 3 products of 2 T^2 D operations a head (half of
// it when causal) instead of the 5 of one kernel with atomics; the order of every sum is fixed in return.
// Included by one source for each head width.
#pragma once

#include "backends/cuda/attention.h"
#include "backends/cuda/attention_tiles.cuh"
#include "backends/cuda/device/dispatch.cuh"

namespace plumb::cuda {

/// Of the kernel for dk and dv. A warp owns 16 keys and kColumns columns of their gradients: where these
/// registers would not do for a whole row, two warps share the keys, and both compute their probabilities
/// (6 products instead of 4).
template <int kWidth>
struct KeyGradientTiles {
  static constexpr int kColumnParts = kWidth == 256 ? 2 : 1, kColumns = kWidth / kColumnParts;
  static constexpr int kKeyWarps = 4, kThreads = kKeyWarps * kColumnParts * kWarp;
  static constexpr int kKeys = 16 * kKeyWarps, kQueries = kWidth == 64 ? 64 : 32;
  using Kept = KeepBits<kQueries, kKeys>;
  static constexpr int kElements = tile_elements<kWidth>(2 * kKeys + 4 * kQueries);
  static std::size_t shared_bytes(const AttentionView& view) {
    return 2 * std::size_t{kElements} + 4 * kQueries * sizeof(float) +
           (view.dropout > 0 ? Kept::kWords * sizeof(std::uint32_t) : 0);
  }
};

/// Of the kernel for dq. A warp owns 16 queries.
template <int kWidth>
struct QueryGradientTiles {
  static constexpr int kWarps = 4, kThreads = kWarps * kWarp;
  static constexpr int kQueries = 16 * kWarps, kKeys = kWidth == 256 ? 32 : 64;
  using Kept = KeepBits<kQueries, kKeys>;
  static constexpr int kElements = tile_elements<kWidth>(2 * kQueries + 4 * kKeys);
  static std::size_t shared_bytes(const AttentionView& view) {
    return 2 * std::size_t{kElements} + (view.dropout > 0 ? Kept::kWords * sizeof(std::uint32_t) : 0);
  }
};

/// What the softmax of one query is differentiated with.
struct RowStatistics {
  float log_sum_exp;  ///< times log2 e
  float expected;     ///< sum_j P_ij dP_ij
};

/// From one pair's capped logit and dout . v to what the two products need: the probability that met v and
/// the gradient of the logit before the soft cap.
__device__ __forceinline__ void differentiate(const AttentionView& view, const RowStatistics& row, bool kept,
                                              float& logit, float& dprobability) {
  const float slope = view.slope(logit);
  const float probability = exp2f(logit * kLog2E - row.log_sum_exp);
  const float factor = kept ? view.kept : 0.0f;
  dprobability = probability * (factor * dprobability - row.expected) * slope;
  logit = probability * factor;
}

/// Reads k and v once, q and dout once for each tile of keys (from L2 but for the first).
template <class T, int kWidth>
__global__ void __launch_bounds__(KeyGradientTiles<kWidth>::kThreads)
    attention_key_gradient_kernel(AttentionView view, HeadRows<const T> q, HeadRows<const T> k,
                                  HeadRows<const T> v, HeadRows<const T> dout, const float* log_sum_exp,
                                  const float* expected, HeadRows<T> dk, HeadRows<T> dv) {
  using Tiles = KeyGradientTiles<kWidth>;
  constexpr int kQueries = Tiles::kQueries, kKeys = Tiles::kKeys, kThreads = Tiles::kThreads;
  constexpr int kStride = kTileStride<kWidth>, kQueryElements = tile_elements<kWidth>(kQueries);
  PLUMB_DYNAMIC_SHARED(T, shared);
  T* k_tile = shared;
  T* v_tile = k_tile + tile_elements<kWidth>(kKeys);
  T* q_tiles = v_tile + tile_elements<kWidth>(kKeys);
  T* dout_tiles = q_tiles + 2 * kQueryElements;
  auto* row_statistics = reinterpret_cast<RowStatistics*>(dout_tiles + 2 * kQueryElements);
  const typename Tiles::Kept kept{reinterpret_cast<std::uint32_t*>(row_statistics + 2 * kQueries)};

  const AttentionPlace place(view, (view.tokens + kKeys - 1) / kKeys);
  const int block_key = place.tile * kKeys;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warp_row = warp % Tiles::kKeyWarps * 16, column = warp / Tiles::kKeyWarps * Tiles::kColumns;
  const int first_key = block_key + warp_row;
  const int first_tile = view.causal ? block_key / kQueries : 0;
  const int query_tiles = (view.tokens + kQueries - 1) / kQueries;
  const HeadRows<const T> head_q = q.of(view, place), head_dout = dout.of(view, place);
  const float* head_log_sum_exp = log_sum_exp + place.first_token(view);
  const float* head_expected = expected + place.first_token(view);
  const auto load_queries = [&](int tile) {
    const int first = tile * kQueries, buffer = tile % 2;
    load_tile<kWidth, kQueries, kThreads>(view, head_q, first, q_tiles + buffer * kQueryElements);
    load_tile<kWidth, kQueries, kThreads>(view, head_dout, first, dout_tiles + buffer * kQueryElements);
    copy_async_commit();
    const int row = static_cast<int>(threadIdx.x), query = first + row;
    if (row >= kQueries) return;
    // Beyond the last token probabilities become exp(0 - inf) = 0.
    row_statistics[buffer * kQueries + row] =
        query < view.tokens ? RowStatistics{head_log_sum_exp[query] * kLog2E, head_expected[query]}
                            : RowStatistics{-kMinusInfinity, 0.0f};
  };
  load_tile<kWidth, kKeys, kThreads>(view, k.of(view, place), block_key, k_tile);
  load_tile<kWidth, kKeys, kThreads>(view, v.of(view, place), block_key, v_tile);
  load_queries(first_tile);

  Sums<1, Tiles::kColumns> dk_sums = {}, dv_sums = {};
  const Lane lane;
  for (int tile = first_tile; tile < query_tiles; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // everyone's copies are there, and everyone is done with the tiles before
    if (tile + 1 < query_tiles) load_queries(tile + 1);
    const int first_query = tile * kQueries;
    if (view.dropout > 0) {
      kept.template draw<kThreads>(view, place, first_query, block_key);
      __syncthreads();
    }
    if (view.causal && first_query + kQueries - 1 < first_key) continue;  // none sees a key of this warp

    const T* q_tile = q_tiles + tile % 2 * kQueryElements;
    const T* dout_tile = dout_tiles + tile % 2 * kQueryElements;
    const RowStatistics* rows = row_statistics + tile % 2 * kQueries;
    const bool diagonal = view.causal && first_query < first_key + 15;
    Sums<1, kQueries> probabilities, dlogits;  // (keys, queries)
    multiply_rows<kWidth>(k_tile + warp_row * kStride, q_tile, probabilities);
    multiply_rows<kWidth>(v_tile + warp_row * kStride, dout_tile, dlogits);
    const int key_after = first_key + lane.row() - first_query - lane.column();
#pragma unroll
    for (int n = 0; n < kQueries / 8; ++n) {
      to_logits(view, probabilities[0][n]);
#pragma unroll
      for (int odd = 0; odd < 2; ++odd) {
        const int row = 8 * n + lane.column() + odd;
        const std::uint32_t bits =
            view.dropout > 0 ? kept.word(row, warp_row / 32) >> (warp_row % 32 + lane.row()) : ~0u;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float &logit = probabilities[0][n][2 * half + odd], &dlogit = dlogits[0][n][2 * half + odd];
          differentiate(view, rows[row], (bits >> 8 * half & 1u) != 0, logit, dlogit);
          if (diagonal && 8 * n + odd < key_after + 8 * half) logit = dlogit = 0;
        }
      }
    }
    const VisibleInner visible{first_key - first_query, true};
    Factors<1, kQueries> factors;
    to_factors<T>(probabilities, factors);
    if (diagonal) {
      add_masked_product<kStride>(factors, dout_tile + column, visible, dv_sums);
      to_factors<T>(dlogits, factors);
      add_masked_product<kStride>(factors, q_tile + column, visible, dk_sums);
    } else {
      add_product<kStride>(factors, dout_tile + column, dv_sums);
      to_factors<T>(dlogits, factors);
      add_product<kStride>(factors, q_tile + column, dk_sums);
    }
  }
  __syncthreads();  // warps that share keys have read them for the last time
  const float dk_factor[1][2] = {{view.scale, view.scale}}, dv_factor[1][2] = {{1, 1}};
  store_sums<kWidth, 1, Tiles::kColumns>(view, dk_sums, dk_factor, k_tile + warp_row * kStride + column,
                                         dk.of(view, place), first_key, column);
  store_sums<kWidth, 1, Tiles::kColumns>(view, dv_sums, dv_factor, v_tile + warp_row * kStride + column,
                                         dv.of(view, place), first_key, column);
}

/// Reads q and dout once, k and v once for each tile of queries (from L2 but for the first).
template <class T, int kWidth>
__global__ void __launch_bounds__(QueryGradientTiles<kWidth>::kThreads)
    attention_query_gradient_kernel(AttentionView view, HeadRows<const T> q, HeadRows<const T> k,
                                    HeadRows<const T> v, HeadRows<const T> dout, const float* log_sum_exp,
                                    const float* expected, HeadRows<T> dq) {
  using Tiles = QueryGradientTiles<kWidth>;
  constexpr int kQueries = Tiles::kQueries, kKeys = Tiles::kKeys, kThreads = Tiles::kThreads;
  constexpr int kStride = kTileStride<kWidth>, kKeyElements = tile_elements<kWidth>(kKeys);
  PLUMB_DYNAMIC_SHARED(T, shared);
  T* q_tile = shared;
  T* dout_tile = q_tile + tile_elements<kWidth>(kQueries);
  T* k_tiles = dout_tile + tile_elements<kWidth>(kQueries);
  T* v_tiles = k_tiles + 2 * kKeyElements;
  const typename Tiles::Kept kept{reinterpret_cast<std::uint32_t*>(v_tiles + 2 * kKeyElements)};

  const int tiles = (view.tokens + kQueries - 1) / kQueries;
  const AttentionPlace place(view, tiles);
  const int block_query = (view.causal ? place.last_first(tiles) : place.tile) * kQueries;
  const int warp_row = static_cast<int>(threadIdx.x) / kWarp * 16, first_query = block_query + warp_row;
  const int limit = view.causal ? min(view.tokens, block_query + kQueries) : view.tokens;
  const int key_tiles = (limit + kKeys - 1) / kKeys;
  const HeadRows<const T> head_k = k.of(view, place), head_v = v.of(view, place);
  const auto load_keys = [&](int tile) {
    load_tile<kWidth, kKeys, kThreads>(view, head_k, tile * kKeys, k_tiles + tile % 2 * kKeyElements);
    load_tile<kWidth, kKeys, kThreads>(view, head_v, tile * kKeys, v_tiles + tile % 2 * kKeyElements);
    copy_async_commit();
  };
  load_tile<kWidth, kQueries, kThreads>(view, q.of(view, place), block_query, q_tile);
  load_tile<kWidth, kQueries, kThreads>(view, dout.of(view, place), block_query, dout_tile);
  load_keys(0);

  const Lane lane;
  RowStatistics rows[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + lane.row() + 8 * half;
    const std::int64_t at = place.first_token(view) + query;
    rows[half] = query < view.tokens ? RowStatistics{log_sum_exp[at] * kLog2E, expected[at]}
                                     : RowStatistics{-kMinusInfinity, 0.0f};
  }
  Sums<1, kWidth> dq_sums = {};
  for (int tile = 0; tile < key_tiles; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // everyone's copies are there, and everyone is done with the tiles before
    if (tile + 1 < key_tiles) load_keys(tile + 1);
    const int first_key = tile * kKeys;
    if (view.dropout > 0) {
      kept.template draw<kThreads>(view, place, block_query, first_key);
      __syncthreads();
    }
    if (view.causal && first_key >= first_query + 16) continue;  // this warp sees none of them

    const T* k_tile = k_tiles + tile % 2 * kKeyElements;
    const bool diagonal = view.causal && first_key + kKeys - 1 > first_query;
    const bool partly = diagonal || first_key + kKeys > view.tokens;
    Sums<1, kKeys> logits, dlogits;
    multiply_rows<kWidth>(q_tile + warp_row * kStride, k_tile, logits);
    multiply_rows<kWidth>(dout_tile + warp_row * kStride, v_tiles + tile % 2 * kKeyElements, dlogits);
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) to_logits(view, logits[0][n]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane.row() + 8 * half;
      const int last = view.last_visible(first_query + row) - first_key - lane.column();
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        const std::uint32_t bits =
            view.dropout > 0 ? kept.word(warp_row + row, n / 4) >> lane.column() >> 8 * (n % 4) : ~0u;
#pragma unroll
        for (int odd = 0; odd < 2; ++odd) {
          float& dlogit = dlogits[0][n][2 * half + odd];
          differentiate(view, rows[half], (bits >> odd & 1u) != 0, logits[0][n][2 * half + odd], dlogit);
          if (partly && 8 * n + odd > last) dlogit = 0;
        }
      }
    }
    const VisibleInner visible{first_query - first_key, false};
    Factors<1, kKeys> factors;
    to_factors<T>(dlogits, factors);
    if (diagonal) {
      add_masked_product<kStride>(factors, k_tile, visible, dq_sums);
    } else {
      add_product<kStride>(factors, k_tile, dq_sums);
    }
  }
  const float factor[1][2] = {{view.scale, view.scale}};
  store_sums<kWidth, 1, kWidth>(view, dq_sums, factor, q_tile + warp_row * kStride, dq.of(view, place),
                                first_query, 0);
}

template <class T, int kWidth>
void launch_backward_instance(cudaStream_t stream, const AttentionBackward& arguments,
                              const float* expected) {
  const AttentionShape& shape = arguments.shape;
  const int planes = static_cast<int>(shape.batch * shape.heads);
  const AttentionView view(shape, {arguments.q, arguments.k, arguments.v, arguments.dout, arguments.dq,
                                   arguments.dk, arguments.dv});
  const HeadRows<const T> q(arguments.q), k(arguments.k), v(arguments.v), dout(arguments.dout);
  const auto* log_sum_exp = static_cast<const float*>(arguments.log_sum_exp.data);
  using Keys = KeyGradientTiles<kWidth>;
  const int key_blocks = planes * attention_tiles(shape.tokens, Keys::kKeys);
  launch({"attention_key_gradient", dim3(static_cast<unsigned>(key_blocks)), dim3(Keys::kThreads),
          Keys::shared_bytes(view), stream},
         attention_key_gradient_kernel<T, kWidth>, view, q, k, v, dout, log_sum_exp, expected,
         HeadRows<T>(arguments.dk), HeadRows<T>(arguments.dv));
  using Queries = QueryGradientTiles<kWidth>;
  const int query_blocks = planes * attention_tiles(shape.tokens, Queries::kQueries);
  launch({"attention_query_gradient", dim3(static_cast<unsigned>(query_blocks)), dim3(Queries::kThreads),
          Queries::shared_bytes(view), stream},
         attention_query_gradient_kernel<T, kWidth>, view, q, k, v, dout, log_sum_exp, expected,
         HeadRows<T>(arguments.dq));
}

}  // namespace plumb::cuda

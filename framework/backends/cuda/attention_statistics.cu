// Largest logit and entropies beside attention that a library computes: q k^T once more, tile by tile.
#include "backends/cuda/attention.h"
#include "backends/cuda/attention_fp32.cuh"
#include "backends/cuda/attention_tiles.cuh"

namespace plumb::cuda {
namespace {

constexpr int kWarps = 4, kThreads = kWarps * kWarp;
constexpr int kQueries = 16 * kWarps, kKeys = 64;

/// What one thread has seen of a row: the largest logit, and sum_j p_j (log_sum_exp - s_j), which is the
/// entropy when the probabilities p sum to one; all terms but those of the largest p are positive, where the
/// difference of log_sum_exp and sum_j p_j s_j would cancel.
struct RowSeen {
  float log_sum_exp, largest = kMinusInfinity, entropy = 0;

  __device__ __forceinline__ void see(float logit) {
    largest = fmaxf(largest, logit);
    const float surprise = log_sum_exp - logit;
    entropy += exp2f(-kLog2E * surprise) * surprise;
  }
  /// NaN, which must win, for a row whose log-sum-exp is NaN.
  __device__ __forceinline__ float largest_or_nan() const {
    return log_sum_exp != log_sum_exp ? log_sum_exp : largest;
  }
};

/// The block's results from those of its threads. `entropy` is that of whole rows, 0 in all threads of a row
/// but one.
template <int kBlockThreads>
__device__ __forceinline__ void store_partials(float largest, double entropy,
                                               const AttentionPartials& partials) {
  PLUMB_SHARED(float, largest_scratch, [kBlockThreads / kWarp]);
  PLUMB_SHARED(double, entropy_scratch, [kBlockThreads / kWarp]);
  if (partials.largest != nullptr) {
    largest = block_reduce<kBlockThreads>(largest, MaximumOrNan(), largest_scratch);
    if (threadIdx.x == 0) partials.largest[blockIdx.x] = largest;
  }
  if (partials.entropy != nullptr) {
    entropy = block_reduce<kBlockThreads>(entropy, Add(), entropy_scratch);
    if (threadIdx.x == 0) partials.entropy[blockIdx.x] = entropy;
  }
}

/// Reads q once, k once for each tile of queries (from L2 but for the first).
template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads)
    attention_statistics_kernel(AttentionView view, HeadRows<const T> q, HeadRows<const T> k,
                                const float* log_sum_exp, AttentionPartials partials) {
  constexpr int kKeyElements = tile_elements<kWidth>(kKeys);
  PLUMB_DYNAMIC_SHARED(T, shared);
  T *q_tile = shared, *k_tiles = q_tile + tile_elements<kWidth>(kQueries);
  const AttentionPlace place(view, (view.tokens + kQueries - 1) / kQueries);
  const int block_query = place.tile * kQueries;
  const int warp_row = static_cast<int>(threadIdx.x) / kWarp * 16;
  const int limit = view.causal ? min(view.tokens, block_query + kQueries) : view.tokens;
  const int key_tiles = (limit + kKeys - 1) / kKeys;
  const HeadRows<const T> head_k = k.of(view, place);
  const auto load_keys = [&](int tile) {
    load_tile<kWidth, kKeys, kThreads>(view, head_k, tile * kKeys, k_tiles + tile % 2 * kKeyElements);
    copy_async_commit();
  };
  load_tile<kWidth, kQueries, kThreads>(view, q.of(view, place), block_query, q_tile);
  load_keys(0);

  const Lane lane;
  RowSeen seen[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = min(block_query + warp_row + 8 * half + lane.row(), view.tokens - 1);
    seen[half].log_sum_exp = log_sum_exp[place.first_token(view) + query];
  }
  for (int tile = 0; tile < key_tiles; ++tile) {
    copy_async_wait<0>();
    __syncthreads();  // everyone's copies are there, and everyone is done with the tile before
    if (tile + 1 < key_tiles) load_keys(tile + 1);
    Sums<1, kKeys> logits;
    multiply_rows<kWidth>(q_tile + warp_row * kTileStride<kWidth>, k_tiles + tile % 2 * kKeyElements, logits);
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) to_logits(view, logits[0][n]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int query = block_query + warp_row + 8 * half + lane.row();
      const int last = view.last_visible(query) - tile * kKeys - lane.column();
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        if (8 * n <= last) seen[half].see(logits[0][n][2 * half]);
        if (8 * n + 1 <= last) seen[half].see(logits[0][n][2 * half + 1]);
      }
    }
  }
  float largest = kMinusInfinity;
  double entropy = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float row_entropy = seen[half].entropy;
    row_entropy += __shfl_xor_sync(kWholeWarp, row_entropy, 1);
    row_entropy += __shfl_xor_sync(kWholeWarp, row_entropy, 2);
    if (block_query + warp_row + 8 * half + lane.row() >= view.tokens) continue;
    largest = maximum_or_nan(largest, seen[half].largest_or_nan());
    if (lane.column() == 0) entropy += static_cast<double>(row_entropy);
  }
  store_partials<kThreads>(largest, entropy, partials);
}

/// As attention_statistics_kernel, without tensor cores.
template <int kWidth>
__global__ void __launch_bounds__(kFloatThreads)
    attention_statistics_fp32_kernel(AttentionView view, HeadRows<const float> q, HeadRows<const float> k,
                                     const float* log_sum_exp, AttentionPartials partials) {
  PLUMB_DYNAMIC_SHARED(float, shared);
  float *q_tile = shared, *k_tile = q_tile + kFloatElements<kWidth>;
  const FloatThread thread;
  const AttentionPlace place(view, (view.tokens + kFloatTile - 1) / kFloatTile);
  const int first_query = place.tile * kFloatTile, query = first_query + thread.row;
  const int last_key = view.last_visible(query);
  const int limit = view.causal ? min(view.tokens, first_query + kFloatTile) : view.tokens;
  const HeadRows<const float> head_k = k.of(view, place);
  load_float_tile<kWidth>(view, q.of(view, place), first_query, q_tile);
  RowSeen seen;
  seen.log_sum_exp = log_sum_exp[place.first_token(view) + min(query, view.tokens - 1)];
  for (int first_key = 0; first_key < limit; first_key += kFloatTile) {
    __syncthreads();
    load_float_tile<kWidth>(view, head_k, first_key, k_tile);
    __syncthreads();
    float logits[kFloatPairs];
    multiply_float_rows<kWidth>(view, q_tile, k_tile, logits);
    to_logits(view, logits);
#pragma unroll
    for (int j = 0; j < kFloatPairs; ++j)
      if (first_key + thread.part + kFloatParts * j <= last_key) seen.see(logits[j]);
  }
  const float row_entropy = row_reduce(seen.entropy, Add());
  const bool inside = query < view.tokens;
  store_partials<kFloatThreads>(inside ? seen.largest_or_nan() : kMinusInfinity,
                                inside && thread.part == 0 ? static_cast<double>(row_entropy) : 0.0,
                                partials);
}

template <class T>
int launch_statistics(cudaStream_t stream, const AttentionForward& arguments,
                      const AttentionPartials& partials) {
  constexpr bool kFloat = std::is_same_v<T, float>;
  AttentionShape shape = arguments.shape;
  shape.dropout = 0;
  const AttentionView view(shape, {arguments.q, arguments.k});
  const HeadRows<const T> q(arguments.q), k(arguments.k);
  const auto* log_sum_exp = static_cast<const float*>(arguments.log_sum_exp.data);
  const int tiles = attention_tiles(shape.tokens, kFloat ? kFloatTile : kQueries);
  const dim3 grid(static_cast<unsigned>(shape.batch * shape.heads * tiles));
  with_head_width(shape.width, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    if constexpr (kFloat) {
      launch({"attention_statistics", grid, dim3(kFloatThreads), 2 * kFloatElements<kWidth> * sizeof(float),
              stream},
             attention_statistics_fp32_kernel<kWidth>, view, q, k, log_sum_exp, partials);
    } else {
      launch({"attention_statistics", grid, dim3(kThreads),
              tile_elements<kWidth>(kQueries + 2 * kKeys) * sizeof(T), stream},
             attention_statistics_kernel<T, kWidth>, view, q, k, log_sum_exp, partials);
    }
  });
  return tiles;
}

}  // namespace

int launch_attention_statistics(cudaStream_t stream, const AttentionForward& arguments,
                                const AttentionPartials& partials) {
  if (arguments.q.dtype == DType::Float32) return launch_statistics<float>(stream, arguments, partials);
  if (arguments.q.dtype == DType::Float16) return launch_statistics<__half>(stream, arguments, partials);
  return launch_statistics<__nv_bfloat16>(stream, arguments, partials);
}

}  // namespace plumb::cuda

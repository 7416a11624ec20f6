// Attention forward in fp32: the algorithm of attention_forward.cuh without tensor cores.
#include "backends/cuda/attention.h"
#include "backends/cuda/attention_fp32.cuh"

namespace plumb::cuda {
namespace {

using Kept = KeepBits<kFloatTile, kFloatTile>;

struct Maximum {
  __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// Reads q once, k and v once for each tile of queries (from L2 but for the first).
template <int kWidth>
__global__ void __launch_bounds__(kFloatThreads, kFloatBlocks<kWidth>)
    attention_forward_fp32_kernel(AttentionView view, HeadRows<const float> q, HeadRows<const float> k,
                                  HeadRows<const float> v, HeadRows<float> out, float* log_sum_exp,
                                  float* largest) {
  PLUMB_DYNAMIC_SHARED(float, shared);
  float *q_tile = shared, *k_tile = q_tile + kFloatElements<kWidth>;
  float *v_tile = k_tile + kFloatElements<kWidth>, *weights = v_tile + kFloatElements<kWidth>;
  PLUMB_SHARED(std::uint32_t, keep_words, [Kept::kWords]);
  const Kept kept{keep_words};
  const FloatThread thread;
  const int tiles = (view.tokens + kFloatTile - 1) / kFloatTile;
  const AttentionPlace place(view, tiles);
  const int first_query = (view.causal ? place.last_first(tiles) : place.tile) * kFloatTile;
  const int query = first_query + thread.row, last_key = view.last_visible(query);
  const int limit = view.causal ? min(view.tokens, first_query + kFloatTile) : view.tokens;
  const HeadRows<const float> head_k = k.of(view, place), head_v = v.of(view, place);
  load_float_tile<kWidth>(view, q.of(view, place), first_query, q_tile);

  FloatSums<kWidth> mixed = {};
  float most = kMinusInfinity, sum = 0;
  for (int first_key = 0; first_key < limit; first_key += kFloatTile) {
    __syncthreads();
    load_float_tile<kWidth>(view, head_k, first_key, k_tile);
    load_float_tile<kWidth>(view, head_v, first_key, v_tile);
    if (view.dropout > 0) kept.draw<kFloatThreads>(view, place, first_query, first_key);
    __syncthreads();
    float logits[kFloatPairs];
    multiply_float_rows<kWidth>(view, q_tile, k_tile, logits);
    to_logits(view, logits);
    float tile_most = most;
#pragma unroll
    for (int j = 0; j < kFloatPairs; ++j) {
      if (first_key + thread.part + kFloatParts * j > last_key) logits[j] = kMinusInfinity;
      tile_most = fmaxf(tile_most, logits[j]);
    }
    tile_most = row_reduce(tile_most, Maximum());
    const float shift = tile_most == kMinusInfinity ? 0.0f : tile_most;
    const float correction = expf(most - shift);
    most = tile_most;
    sum *= correction;
#pragma unroll
    for (int j = 0; j < kFloatPairs; ++j) {
      const int key = thread.part + kFloatParts * j;
      const float weight = expf(logits[j] - shift);
      sum += weight;
      const bool keeps = view.dropout > 0 ? (kept.word(thread.row, 0) >> key & 1u) != 0 : true;
      weights[thread.row * kWeightStride + key] = keeps ? weight : 0.0f;
    }
#pragma unroll
    for (int column = 0; column < kWidth / 32; ++column)
#pragma unroll
      for (int i = 0; i < 4; ++i) mixed[column][i] *= correction;
    __syncwarp();  // a row's threads are in one warp
    add_float_rows<kWidth>(view, weights, v_tile, 0, min(kFloatTile, last_key - first_key + 1), mixed);
  }

  sum = row_reduce(sum, Add());
  store_float_sums<kWidth>(view, mixed, view.kept / sum, out.of(view, place), first_query);
  // No visible logit above -inf: log 0 - inf, where the sum of nothing is NaN.
  const float value = sum != 0 ? most + logf(sum) : __int_as_float(0x7fffffff);
  const bool inside = query < view.tokens;
  if (inside && thread.part == 0) log_sum_exp[place.first_token(view) + query] = value;
  if (largest == nullptr) return;
  PLUMB_SHARED(float, scratch, [kFloatThreads / kWarp]);
  const float own = !inside ? kMinusInfinity : value != value ? value : most;
  const float block_most = block_reduce<kFloatThreads>(own, MaximumOrNan(), scratch);
  if (threadIdx.x == 0) largest[blockIdx.x] = block_most;
}

}  // namespace

int launch_attention_forward_fp32(cudaStream_t stream, const AttentionForward& arguments, float* largest) {
  const AttentionShape& shape = arguments.shape;
  const AttentionView view(shape, {arguments.q, arguments.k, arguments.v, arguments.out});
  const int blocks = static_cast<int>(shape.batch * shape.heads) * attention_tiles(shape.tokens, kFloatTile);
  with_head_width(shape.width, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    launch({"attention_forward_fp32", dim3(static_cast<unsigned>(blocks)), dim3(kFloatThreads),
            (3 * kFloatElements<kWidth> + kWeightElements) * sizeof(float), stream},
           attention_forward_fp32_kernel<kWidth>, view, HeadRows<const float>(arguments.q),
           HeadRows<const float>(arguments.k), HeadRows<const float>(arguments.v),
           HeadRows<float>(arguments.out), static_cast<float*>(arguments.log_sum_exp.data), largest);
  });
  return blocks;
}

}  // namespace plumb::cuda

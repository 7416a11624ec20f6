// Attention backward in fp32: the two kernels of attention_backward.cuh without tensor cores.
#include "backends/cuda/attention.h"
#include "backends/cuda/attention_fp32.cuh"

namespace plumb::cuda {
namespace {

using Kept = KeepBits<kFloatTile, kFloatTile>;

/// From one pair's logit and dout . v to the probability that met v and the gradient of the logit before the
/// soft cap.
__device__ __forceinline__ void differentiate(const AttentionView& view, float log_sum_exp, float expected,
                                              bool kept, float& logit, float& dprobability) {
  const float slope = view.slope(logit), probability = expf(logit - log_sum_exp);
  const float factor = kept ? view.kept : 0.0f;
  dprobability = probability * (factor * dprobability - expected) * slope;
  logit = probability * factor;
}

/// dk, dv: a block owns a tile of keys. Reads k and v once, q and dout once for each tile of keys.
template <int kWidth>
__global__ void __launch_bounds__(kFloatThreads, kFloatBlocks<kWidth>)
    attention_key_gradient_fp32_kernel(AttentionView view, HeadRows<const float> q, HeadRows<const float> k,
                                       HeadRows<const float> v, HeadRows<const float> dout,
                                       const float* log_sum_exp, const float* expected, HeadRows<float> dk,
                                       HeadRows<float> dv) {
  PLUMB_DYNAMIC_SHARED(float, shared);
  float *k_tile = shared, *v_tile = k_tile + kFloatElements<kWidth>;
  float *q_tile = v_tile + kFloatElements<kWidth>, *dout_tile = q_tile + kFloatElements<kWidth>;
  float *probabilities = dout_tile + kFloatElements<kWidth>, *dlogits = probabilities + kWeightElements;
  PLUMB_SHARED(std::uint32_t, keep_words, [Kept::kWords]);
  const Kept kept{keep_words};
  const FloatThread thread;
  const AttentionPlace place(view, (view.tokens + kFloatTile - 1) / kFloatTile);
  const int first_key = place.tile * kFloatTile, key = first_key + thread.row;
  const HeadRows<const float> head_q = q.of(view, place), head_dout = dout.of(view, place);
  load_float_tile<kWidth>(view, k.of(view, place), first_key, k_tile);
  load_float_tile<kWidth>(view, v.of(view, place), first_key, v_tile);

  FloatSums<kWidth> dk_sums = {}, dv_sums = {};
  for (int first_query = view.causal ? first_key : 0; first_query < view.tokens; first_query += kFloatTile) {
    __syncthreads();
    load_float_tile<kWidth>(view, head_q, first_query, q_tile);
    load_float_tile<kWidth>(view, head_dout, first_query, dout_tile);
    if (view.dropout > 0) kept.draw<kFloatThreads>(view, place, first_query, first_key);
    __syncthreads();
    float logits[kFloatPairs], dprobabilities[kFloatPairs];
    multiply_float_rows<kWidth>(view, k_tile, q_tile, logits);
    multiply_float_rows<kWidth>(view, v_tile, dout_tile, dprobabilities);
    to_logits(view, logits);
#pragma unroll
    for (int j = 0; j < kFloatPairs; ++j) {
      const int row = thread.part + kFloatParts * j;
      const std::int64_t at = place.first_token(view) + min(first_query + row, view.tokens - 1);
      const bool keeps = view.dropout > 0 ? (kept.word(row, 0) >> thread.row & 1u) != 0 : true;
      differentiate(view, log_sum_exp[at], expected[at], keeps, logits[j], dprobabilities[j]);
      probabilities[thread.row * kWeightStride + row] = logits[j];
      dlogits[thread.row * kWeightStride + row] = dprobabilities[j];
    }
    __syncwarp();  // a row's threads are in one warp
    const int begin = view.causal ? max(0, key - first_query) : 0;
    const int end = min(kFloatTile, view.tokens - first_query);
    add_float_rows<kWidth>(view, probabilities, dout_tile, begin, end, dv_sums);
    add_float_rows<kWidth>(view, dlogits, q_tile, begin, end, dk_sums);
  }
  store_float_sums<kWidth>(view, dk_sums, view.scale, dk.of(view, place), first_key);
  store_float_sums<kWidth>(view, dv_sums, 1.0f, dv.of(view, place), first_key);
}

/// dq: a block owns a tile of queries. Reads q and dout once, k and v once for each tile of queries.
template <int kWidth>
__global__ void __launch_bounds__(kFloatThreads, kFloatBlocks<kWidth>)
    attention_query_gradient_fp32_kernel(AttentionView view, HeadRows<const float> q, HeadRows<const float> k,
                                         HeadRows<const float> v, HeadRows<const float> dout,
                                         const float* log_sum_exp, const float* expected,
                                         HeadRows<float> dq) {
  PLUMB_DYNAMIC_SHARED(float, shared);
  float *q_tile = shared, *dout_tile = q_tile + kFloatElements<kWidth>;
  float *k_tile = dout_tile + kFloatElements<kWidth>, *v_tile = k_tile + kFloatElements<kWidth>;
  float* dlogits = v_tile + kFloatElements<kWidth>;
  PLUMB_SHARED(std::uint32_t, keep_words, [Kept::kWords]);
  const Kept kept{keep_words};
  const FloatThread thread;
  const int tiles = (view.tokens + kFloatTile - 1) / kFloatTile;
  const AttentionPlace place(view, tiles);
  const int first_query = (view.causal ? place.last_first(tiles) : place.tile) * kFloatTile;
  const int query = first_query + thread.row, last_key = view.last_visible(query);
  const int limit = view.causal ? min(view.tokens, first_query + kFloatTile) : view.tokens;
  const std::int64_t at = place.first_token(view) + min(query, view.tokens - 1);
  const float row_log_sum_exp = log_sum_exp[at], row_expected = expected[at];
  const HeadRows<const float> head_k = k.of(view, place), head_v = v.of(view, place);
  load_float_tile<kWidth>(view, q.of(view, place), first_query, q_tile);
  load_float_tile<kWidth>(view, dout.of(view, place), first_query, dout_tile);

  FloatSums<kWidth> dq_sums = {};
  for (int first_key = 0; first_key < limit; first_key += kFloatTile) {
    __syncthreads();
    load_float_tile<kWidth>(view, head_k, first_key, k_tile);
    load_float_tile<kWidth>(view, head_v, first_key, v_tile);
    if (view.dropout > 0) kept.draw<kFloatThreads>(view, place, first_query, first_key);
    __syncthreads();
    float logits[kFloatPairs], dprobabilities[kFloatPairs];
    multiply_float_rows<kWidth>(view, q_tile, k_tile, logits);
    multiply_float_rows<kWidth>(view, dout_tile, v_tile, dprobabilities);
    to_logits(view, logits);
#pragma unroll
    for (int j = 0; j < kFloatPairs; ++j) {
      const int key = thread.part + kFloatParts * j;
      const bool keeps = view.dropout > 0 ? (kept.word(thread.row, 0) >> key & 1u) != 0 : true;
      differentiate(view, row_log_sum_exp, row_expected, keeps, logits[j], dprobabilities[j]);
      dlogits[thread.row * kWeightStride + key] = dprobabilities[j];
    }
    __syncwarp();  // a row's threads are in one warp
    add_float_rows<kWidth>(view, dlogits, k_tile, 0, min(kFloatTile, last_key - first_key + 1), dq_sums);
  }
  store_float_sums<kWidth>(view, dq_sums, view.scale, dq.of(view, place), first_query);
}

}  // namespace

void launch_attention_backward_fp32(cudaStream_t stream, const AttentionBackward& arguments,
                                    const float* expected) {
  const AttentionShape& shape = arguments.shape;
  const AttentionView view(shape, {arguments.q, arguments.k, arguments.v, arguments.dout, arguments.dq,
                                   arguments.dk, arguments.dv});
  const HeadRows<const float> q(arguments.q), k(arguments.k), v(arguments.v), dout(arguments.dout);
  const auto* log_sum_exp = static_cast<const float*>(arguments.log_sum_exp.data);
  const int blocks = static_cast<int>(shape.batch * shape.heads) * attention_tiles(shape.tokens, kFloatTile);
  const dim3 grid(static_cast<unsigned>(blocks)), block(kFloatThreads);
  with_head_width(shape.width, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    constexpr std::size_t kTiles = 4 * kFloatElements<kWidth> * sizeof(float);
    constexpr std::size_t kWeights = kWeightElements * sizeof(float);
    launch({"attention_key_gradient_fp32", grid, block, kTiles + 2 * kWeights, stream},
           attention_key_gradient_fp32_kernel<kWidth>, view, q, k, v, dout, log_sum_exp, expected,
           HeadRows<float>(arguments.dk), HeadRows<float>(arguments.dv));
    launch({"attention_query_gradient_fp32", grid, block, kTiles + kWeights, stream},
           attention_query_gradient_fp32_kernel<kWidth>, view, q, k, v, dout, log_sum_exp, expected,
           HeadRows<float>(arguments.dq));
  });
}

}  // namespace plumb::cuda

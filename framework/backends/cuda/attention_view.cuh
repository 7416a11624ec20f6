// What every attention kernel knows of its arguments: shape and rule of the logits, one head's rows, the
// place of a block, and what dropout keeps.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "backend/ops/attention.h"
#include "backends/cuda/device/random_site.cuh"
#include "backends/cuda/device/reduce.cuh"
#include "portability.cuh"

namespace plumb::cuda {

inline constexpr float kLog2E = 1.4426950408889634f;
inline constexpr float kMinusInfinity = -__builtin_huge_valf();

/// tanh to about 2e-7 absolute: logits are capped by it, so that relative error of small ones does not count.
__device__ __forceinline__ float fast_tanh(float x) {
  return 1.0f - __fdividef(2.0f, exp2f(2 * kLog2E * x) + 1.0f);
}

struct AttentionView {
  int tokens, heads, width;
  bool causal;
  bool vectors;  ///< the rows of every head can be read and written 16 bytes at a time
  float scale, soft_cap, inverse_cap, dropout, kept;
  RandomSiteView site;

  AttentionView(const AttentionShape& shape, std::initializer_list<Tensor> rows)
      : tokens(static_cast<int>(shape.tokens)),
        heads(static_cast<int>(shape.heads)),
        width(static_cast<int>(shape.width)),
        causal(shape.causal),
        vectors(true),
        scale(static_cast<float>(shape.scale)),
        soft_cap(static_cast<float>(shape.soft_cap)),
        inverse_cap(shape.soft_cap > 0 ? static_cast<float>(1 / shape.soft_cap) : 0.0f),
        dropout(static_cast<float>(shape.dropout)),
        kept(static_cast<float>(1 / (1 - shape.dropout))),
        site(shape.site) {
    for (const Tensor& tensor : rows) {
      const std::size_t item = size_of(tensor.dtype);
      vectors = vectors && reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0 &&
                static_cast<std::size_t>(tensor.row_stride) * item % 16 == 0 &&
                static_cast<std::size_t>(width) * item % 16 == 0;
    }
  }

  /// The last key that a query sees.
  __device__ __forceinline__ int last_visible(int query) const {
    return causal && query < tokens ? query : tokens - 1;
  }
  /// d capped logit / d logit; 1 without a cap.
  __device__ __forceinline__ float slope(float capped) const {
    const float ratio = capped * inverse_cap;
    return 1.0f - ratio * ratio;
  }
};

/// From products q . k to logits, in place.
template <int kCount>
__device__ __forceinline__ void to_logits(const AttentionView& view, float (&products)[kCount]) {
  if (view.soft_cap > 0) {
    const float factor = view.scale * view.inverse_cap;
#pragma unroll
    for (int i = 0; i < kCount; ++i) products[i] = view.soft_cap * fast_tanh(products[i] * factor);
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) products[i] *= view.scale;
  }
}

/// Which tile of which head a block works on; `plane` counts the heads of all sequences.
struct AttentionPlace {
  int tile, plane, sequence, head;

  __device__ __forceinline__ AttentionPlace(const AttentionView& view, int tiles)
      : tile(static_cast<int>(blockIdx.x) % tiles),
        plane(static_cast<int>(blockIdx.x) / tiles),
        sequence(plane / view.heads),
        head(plane % view.heads) {}
  /// Where a (B, H, T) tensor has the first token of this head.
  __device__ __forceinline__ std::int64_t first_token(const AttentionView& view) const {
    return std::int64_t{plane} * view.tokens;
  }
  /// For causal query tiles: those with the most keys start first.
  __device__ __forceinline__ int last_first(int tiles) const { return tiles - 1 - tile; }
};

/// A (B*T, H*D) tensor; of(...) gives the rows of one head of one sequence.
template <class T>
struct HeadRows {
  T* data;
  std::int64_t stride;

  explicit HeadRows(const Tensor& tensor) : data(static_cast<T*>(tensor.data)), stride(tensor.row_stride) {}
  __device__ __forceinline__ HeadRows(T* first, std::int64_t row_stride) : data(first), stride(row_stride) {}
  __device__ __forceinline__ HeadRows of(const AttentionView& view, const AttentionPlace& place) const {
    return {
        data + std::int64_t{place.sequence} * view.tokens * stride + std::int64_t{place.head} * view.width,
        stride};
  }
  __device__ __forceinline__ T* row(int token) const { return data + token * stride; }
};

/// What dropout keeps of a tile of kQueries x kKeys pairs, one bit for each, drawn once for the whole block:
/// no layout of the products over lanes would use all four words of every block of the random stream.
template <int kQueries, int kKeys>
struct KeepBits {
  static_assert(kKeys % 32 == 0);
  static constexpr int kRowWords = kKeys / 32;
  static constexpr int kWords = kQueries * kRowWords;
  std::uint32_t* words;  ///< kWords of shared memory

  /// All kThreads threads call it; a barrier must follow.
  template <int kThreads>
  __device__ __forceinline__ void draw(const AttentionView& view, const AttentionPlace& place,
                                       int first_query, int first_key) const {
    const RandomStream stream = view.site.stream();
    const auto tokens = static_cast<std::uint64_t>(view.tokens);
    const std::uint64_t plane = view.site.first_sequence() * static_cast<std::uint64_t>(view.heads) +
                                static_cast<std::uint64_t>(place.plane);
    for (int at = static_cast<int>(threadIdx.x); at < kWords; at += kThreads) {
      const auto query = static_cast<std::uint64_t>(first_query + at / kRowWords);
      const std::uint64_t first =
          (plane * tokens + query) * tokens + static_cast<std::uint64_t>(first_key + at % kRowWords * 32);
      const int skipped = static_cast<int>(first % 4);  // words of the first block before this row's
      std::uint32_t bits = 0;
#pragma unroll 1
      for (int bit = -skipped; bit < 32; bit += 4) {
        const auto random = stream.block(first / 4 + static_cast<std::uint64_t>((bit + skipped) / 4));
#pragma unroll
        for (int word = 0; word < 4; ++word) {
          const bool dropped = static_cast<float>(random[word] >> 8) * 0x1p-24f < view.dropout;
          const int place_in_row = bit + word;
          if (!dropped && place_in_row >= 0 && place_in_row < 32) bits |= 1u << place_in_row;
        }
      }
      words[at] = bits;
    }
  }
  /// Of keys 32 * word + [0, 32) of the tile.
  __device__ __forceinline__ std::uint32_t word(int query, int word) const {
    return words[query * kRowWords + word];
  }
};

/// Kernels are instantiated for these head widths; narrower heads are padded with zeros.
inline constexpr int kWidestHead = 256;

/// Calls body with the width of the instance for heads of this width, as an integral_constant.
template <class Body>
void with_head_width(std::int64_t width, Body&& body) {
  if (width <= 64) return body(std::integral_constant<int, 64>{});
  if (width <= 128) return body(std::integral_constant<int, 128>{});
  return body(std::integral_constant<int, kWidestHead>{});
}

inline int attention_tiles(std::int64_t tokens, int tile) {
  return static_cast<int>((tokens + tile - 1) / tile);
}

}  // namespace plumb::cuda

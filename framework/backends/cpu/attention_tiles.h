// What both directions of attention share: the geometry of tiles, heads unpacked to padded fp32, and the
// factors of dropout.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <initializer_list>

#include "backend/ops/attention.h"
#include "backends/cpu/arguments.h"
#include "backends/cpu/random_words.h"
#include "backends/cpu/row_sums.h"
#include "backends/cpu/widen.h"
#include "backends/cpu/workspace_carver.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace plumb::cpu {

// A tile of logits (kQueryTile, kKeyTile) is 24 KiB, with AVX-512 16. 48 queries in place of 24 saved 1 to 3
// % of attention's time on Zen 3 (AVX2); more than 32 have not been tried with AVX-512.
inline constexpr std::int64_t kQueryTile = (kLanes == 16 ? 4 : 8) * kTileRows;
inline constexpr std::int64_t kKeyTile = 128;

/// Sizes in elements. Rows of a head are padded to whole vectors, and so are the rows of its transpose, which
/// get one vector more so that a power-of-two length does not map every row to the same cache set.
struct HeadGeometry {
  explicit HeadGeometry(const AttentionShape& shape)
      : tokens(shape.tokens),
        width(shape.width),
        padded_width(round_up_to_lanes(shape.width)),
        transposed_stride(round_up_to_lanes(shape.tokens) + kLanes),
        query_tiles((shape.tokens + kQueryTile - 1) / kQueryTile) {}

  std::int64_t tokens, width, padded_width, transposed_stride, query_tiles;
  std::int64_t rows_size() const { return tokens * padded_width; }
  std::int64_t transposed_size() const { return width * transposed_stride; }
  std::int64_t tile_size() const { return kQueryTile * padded_width; }
};

struct NamedTensor {
  const char* name;
  const Tensor& tensor;
};

/// Throws Error unless all are (B*T, H*D) rows of one compute dtype.
inline void check_attention(const char* op, const AttentionShape& shape,
                            std::initializer_list<NamedTensor> rows, const Tensor& log_sum_exp) {
  PLUMB_CHECK(shape.batch >= 1 && shape.tokens >= 1 && shape.heads >= 1 && shape.width >= 1,
              "{}: batch {}, tokens {}, heads {}, width {} must be positive", op, shape.batch, shape.tokens,
              shape.heads, shape.width);
  PLUMB_CHECK(shape.dropout >= 0 && shape.dropout < 1, "{}: dropout is {}, not in [0, 1)", op, shape.dropout);
  const DType dtype = rows.begin()->tensor.dtype;
  if (dtype != DType::Float32 && dtype != DType::BFloat16) fail_dtype(op, dtype);
  for (const auto& [name, tensor] : rows) {
    require_rows(op, name, tensor, dtype, shape.batch * shape.tokens, shape.heads * shape.width);
  }
  require_vector(op, "log_sum_exp", log_sum_exp, DType::Float32, shape.batch * shape.heads * shape.tokens);
}

/// First element of row `token` of head `head` in sequence `sequence`.
template <class Element>
Element* head_row(const Tensor& tensor, const AttentionShape& shape, std::int64_t sequence, std::int64_t head,
                  std::int64_t token) {
  return tensor.as<Element>() + (sequence * shape.tokens + token) * tensor.row_stride + head * shape.width;
}

/// Has what a head holds of a token come to the second cache while another head is worked on: a head's rows
/// lie a token apart, which the processor does not foresee. plane counts (sequence, head), heads fastest.
template <class Element>
void fetch_token(const AttentionShape& shape, std::int64_t plane, std::int64_t token,
                 std::initializer_list<const Tensor*> tensors) {
  constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(Element));
  for (const Tensor* tensor : tensors) {
    const auto* part = head_row<Element>(*tensor, shape, plane / shape.heads, plane % shape.heads, token);
    for (std::int64_t d = 0; d < shape.width; d += kLine) __builtin_prefetch(part + d, 0, 2);
  }
}

/// (rows, width) elements to (rows, padded_width) floats times factor; the padding becomes 0.
template <class Element>
void unpack_rows(const Element* source, std::int64_t stride, std::int64_t rows, const HeadGeometry& geometry,
                 float factor, float* out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* line = out + r * geometry.padded_width;
    for (std::int64_t d = 0; d < geometry.width; ++d) {
      line[d] = static_cast<float>(source[r * stride + d]) * factor;
    }
    std::fill(line + geometry.width, line + geometry.padded_width, 0.0F);
  }
}

namespace detail {
using LanesSquare = std::array<LanesValue, kLanes>;

/// Exchanges element (i, j + half) with (i + half, j) for every i and j whose bit `half` is not set.
template <std::size_t kHalf, std::size_t... kIndices>
[[gnu::always_inline]] inline void exchange(LanesSquare& square, std::index_sequence<kIndices...>) {
  constexpr std::size_t kCount = sizeof...(kIndices);
#pragma GCC unroll 16
  for (std::size_t i = 0; i < kCount; ++i) {
    if ((i & kHalf) != 0) continue;
    const LanesValue low = square[i], high = square[i + kHalf];
    square[i] = __builtin_shufflevector(
        low, high, static_cast<int>((kIndices & kHalf) == 0 ? kIndices : kCount + (kIndices ^ kHalf))...);
    square[i + kHalf] = __builtin_shufflevector(
        low, high, static_cast<int>((kIndices & kHalf) == 0 ? kIndices ^ kHalf : kCount + kIndices)...);
  }
  if constexpr (kHalf > 1) exchange<kHalf / 2>(square, std::index_sequence<kIndices...>{});
}
}  // namespace detail

/// (tokens, width) elements to (width, tokens) floats; the padding becomes 0.
template <class Element>
void unpack_transposed(const Element* source, std::int64_t stride, const HeadGeometry& geometry, float* out) {
  const std::int64_t whole_width = geometry.width / kLanes * kLanes;
  for (std::int64_t first = 0; first < geometry.tokens; first += kLanes) {
    const std::int64_t count = std::min(kLanes, geometry.tokens - first);
    const std::int64_t transposed = count == kLanes ? whole_width : 0;
    for (std::int64_t d = 0; d < transposed; d += kLanes) {
      detail::LanesSquare square;
      for (std::int64_t t = 0; t < kLanes; ++t)
        square[static_cast<std::size_t>(t)] = LoadLanes{}(source + (first + t) * stride + d);
      detail::exchange<kLanes / 2>(square, std::make_index_sequence<kLanes>{});
      for (std::int64_t i = 0; i < kLanes; ++i)
        lanes_at(out + (d + i) * geometry.transposed_stride + first) = square[static_cast<std::size_t>(i)];
    }
    for (std::int64_t d = transposed; d < geometry.width; ++d) {
      float* line = out + d * geometry.transposed_stride + first;
      for (std::int64_t t = 0; t < count; ++t) {
        line[t] = static_cast<float>(source[(first + t) * stride + d]);
      }
      std::fill(line + count, line + kLanes, 0.0F);
    }
  }
}

template <class Element>
void pack_rows(const float* source, const HeadGeometry& geometry, std::int64_t rows, Element* out,
               std::int64_t stride) {
  for (std::int64_t r = 0; r < rows; ++r) {
    narrow(source + r * geometry.padded_width, out + r * stride, geometry.width);
  }
}

/// Scratch for each thread, carved by Scratch(carver, geometry). Everything is checked before threads start.
template <class Scratch>
class ThreadScratch {
 public:
  ThreadScratch(WorkspaceCarver& carver, const HeadGeometry& geometry) : geometry_(geometry) {
    WorkspaceCarver one;
    Scratch(one, geometry);
    bytes_ = one.used();
    data_ = carver.take<std::byte>(static_cast<std::int64_t>(bytes_) * thread_count());
  }
  Scratch of(int thread) const {
    WorkspaceCarver carver(Workspace{data_ + bytes_ * static_cast<std::size_t>(thread), bytes_});
    return Scratch(carver, geometry_);
  }

 private:
  const HeadGeometry& geometry_;
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

/// The factor of every probability: 1/(1-p) where it is kept, 0 where it is dropped.
class AttentionDropout {
 public:
  explicit AttentionDropout(const AttentionShape& shape)
      : heads_(static_cast<std::uint64_t>(shape.heads)),
        tokens_(static_cast<std::uint64_t>(shape.tokens)),
        probability_(static_cast<float>(shape.dropout)),
        kept_(static_cast<float>(1 / (1 - shape.dropout))) {
    if (shape.dropout <= 0) return;
    draw_ = Draw("attention", shape.site);
  }
  bool active() const { return probability_ > 0; }

  /// Multiplies values[0 .. count) of query `row` and keys `key` .. by their factors.
  void apply(std::int64_t sequence, std::int64_t head, std::int64_t row, std::int64_t key, std::int64_t count,
             float* values) const {
    std::array<float, kKeyTile> factor;
    factors(sequence, head, row, key, count, factor.data());
    for (std::int64_t j = 0; j < count; ++j) values[j] *= factor[static_cast<std::size_t>(j)];
  }

  void factors(std::int64_t sequence, std::int64_t head, std::int64_t row, std::int64_t key,
               std::int64_t count, float* out) const {
    const std::uint64_t plane = (draw_.first_sequence + static_cast<std::uint64_t>(sequence)) * heads_ +
                                static_cast<std::uint64_t>(head);
    const std::uint64_t first =
        (plane * tokens_ + static_cast<std::uint64_t>(row)) * tokens_ + static_cast<std::uint64_t>(key);
    std::array<std::uint32_t, kRandomWords> words;
    std::uint64_t block = first / 4;
    auto skip = static_cast<std::int64_t>(first % 4);  // words of the first block that belong to other keys
    for (std::int64_t done = 0; done < count; block += kRandomBlocks, skip = 0) {
      const std::int64_t taken = std::min(kRandomWords - skip, count - done);
      random_words(draw_.stream, block, (skip + taken + 3) / 4, words);
      for (std::int64_t j = 0; j < taken; ++j) {
        const float uniform = static_cast<float>(words[static_cast<std::size_t>(skip + j)] >> 8) * 0x1p-24F;
        out[done + j] = uniform < probability_ ? 0.0F : kept_;
      }
      done += taken;
    }
  }

 private:
  Draw draw_;
  std::uint64_t heads_, tokens_;
  float probability_, kept_;
};

/// A tile of queries against a tile of keys.
struct Tile {
  std::int64_t first_query, queries, first_key, keys;
  bool causal;

  /// How many keys of the tile its query row sees.
  std::int64_t visible(std::int64_t row) const {
    if (!causal) return keys;
    return std::clamp<std::int64_t>(first_query + row - first_key + 1, 0, keys);
  }
  bool masked() const { return visible(0) < keys; }
  /// Entries of a query row that a tile of logits holds: what the row sees and what products of kTileRows
  /// rows or columns read beside it, in whole vectors. What it does not see is padding.
  std::int64_t held(std::int64_t row) const {
    const std::int64_t last = std::min(queries, row / kTileRows * kTileRows + kTileRows) - 1;
    return round_up_to_lanes(std::min(keys, visible(last) + kTileRows - 1));
  }
  /// The first query row that sees this key of the tile.
  std::int64_t first_seeing(std::int64_t key) const {
    if (!causal) return 0;
    return std::clamp<std::int64_t>(first_key + key - first_query, 0, queries);
  }
};

struct FloatArray {
  const float* data;
  std::int64_t count;
};

/// How many rows of a tile that is masked in part may be multiplied together: one product then runs over what
/// any of them sees, and the zeros in place of what the others do not see make NaN of values that are not
/// finite. So kTileRows when all of the given arrays are finite, else 1.
inline std::int64_t masked_group(const AttentionShape& shape, std::initializer_list<FloatArray> values) {
  if (!shape.causal) return kTileRows;
  std::uint32_t special = 0;
  for (const FloatArray& array : values) {
    for (std::int64_t i = 0; i < array.count; ++i) {
      special |= (std::bit_cast<std::uint32_t>(array.data[i]) & 0x7fffffffU) >= 0x7f800000U ? 1U : 0U;
    }
  }
  return special == 0 ? kTileRows : 1;
}

/// logits (queries, keys) = rows (queries, depth) transposed_keys (depth, keys), of each row what it holds.
/// The rows of logits are kKeyTile apart, the others as given.
inline void multiply_keys(const Tile& tile, const float* rows, std::int64_t row_stride,
                          const float* transposed_keys, std::int64_t key_stride, std::int64_t depth,
                          float* logits) {
  const std::int64_t step = tile.masked() ? kTileRows : tile.queries;
  for (std::int64_t i = 0; i < tile.queries; i += step) {
    tile_product<false>({rows + i * row_stride, row_stride, 1}, transposed_keys, key_stride,
                        logits + i * kKeyTile, kKeyTile, std::min(step, tile.queries - i), tile.held(i),
                        depth);
  }
}

/// out (queries, width) += weights (queries, keys) values (keys, width), over the keys that a query sees. The
/// rows of weights are kKeyTile apart, those of values and out `width`, which is a whole number of vectors.
inline void add_over_keys(const Tile& tile, std::int64_t group, const float* weights, const float* values,
                          float* out, std::int64_t width) {
  const std::int64_t step = tile.masked() ? group : tile.queries;
  for (std::int64_t i = 0; i < tile.queries; i += step) {
    const std::int64_t rows = std::min(step, tile.queries - i);
    tile_product<true>({weights + i * kKeyTile, kKeyTile, 1}, values, width, out + i * width, width, rows,
                       width, tile.visible(i + rows - 1));
  }
}

/// out (keys, width) += weights^T (keys, queries) values (queries, width), over the queries that see a key.
inline void add_over_queries(const Tile& tile, std::int64_t group, const float* weights, const float* values,
                             float* out, std::int64_t width) {
  const std::int64_t step = tile.masked() ? group : tile.keys;
  for (std::int64_t j = 0; j < tile.keys; j += step) {
    const std::int64_t first = tile.first_seeing(j);
    tile_product<true>({weights + first * kKeyTile + j, 1, kKeyTile}, values + first * width, width,
                       out + j * width, width, std::min(step, tile.keys - j), width, tile.queries - first);
  }
}

/// Calls body(tile) for every tile of keys that queries [first, first + queries) see, in ascending order.
template <class Body>
void for_key_tiles(const AttentionShape& shape, std::int64_t first, std::int64_t queries, Body&& body) {
  const std::int64_t limit = shape.causal ? first + queries : shape.tokens;
  for (std::int64_t key = 0; key < limit; key += kKeyTile) {
    body(Tile{first, queries, key, std::min(kKeyTile, limit - key), shape.causal});
  }
}

/// How many (sequence, head, ...) tasks are worth a thread of their own.
inline std::int64_t task_grain(std::int64_t multiply_adds_per_task) {
  constexpr std::int64_t kWorthAThread = std::int64_t{1} << 18;
  return std::max<std::int64_t>(1, kWorthAThread / std::max<std::int64_t>(1, multiply_adds_per_task));
}

}  // namespace plumb::cpu

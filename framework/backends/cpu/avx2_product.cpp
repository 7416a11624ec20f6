// Compiled with -mavx2 -mfma whatever the rest is compiled for, and called where the processor has both: what
// it includes must not define functions that other sources share.
#include "backends/cpu/avx2_product.h"

#include "backends/cpu/avx2_packing.h"
#include "backends/cpu/avx2_tile.h"

namespace plumb::cpu {
namespace {

using namespace avx2;

/// Most of what is multiplied at once: a tile's columns of b stay in the first cache for the rows of a block
/// of a, which stays in the second. Chosen by measurement.
struct BlockSizes {
  std::int64_t rows, columns, depth;
};
constexpr BlockSizes most_of(bool transpose_a) {
  return transpose_a ? BlockSizes{.rows = 96, .columns = 768, .depth = 256}
                     : BlockSizes{.rows = 48, .columns = 768, .depth = 384};
}

std::int64_t rounded_up(std::int64_t length, std::int64_t unit) { return (length + unit - 1) / unit * unit; }

/// Length of near-equal pieces of at most `most`, itself a multiple of unit: a multiple of unit.
std::int64_t piece_of(std::int64_t length, std::int64_t most, std::int64_t unit) {
  const std::int64_t pieces = (length + most - 1) / most;
  return rounded_up((length + pieces - 1) / pieces, unit);
}

/// Room of the packed blocks. That of b comes first, so that it is aligned.
std::int64_t most_depth(const ProductSizes& sizes, const BlockSizes& most) {
  return rounded_up(smaller(sizes.k, most.depth), kLanes);
}
std::int64_t right_floats(const ProductSizes& sizes, const BlockSizes& most) {
  return most_depth(sizes, most) * rounded_up(smaller(sizes.n, most.columns), kTileColumns);
}
std::int64_t left_floats(const ProductSizes& sizes, const BlockSizes& most) {
  return rounded_up(smaller(sizes.m, most.rows), kTileRows) / kTileRows *
         left_tile_floats(most_depth(sizes, most));
}

void multiply_rows(std::int64_t rows, const float* left, const float* right, std::int64_t depth,
                   TileResult result) {
  switch (rows) {
    case 6:
      return multiply_tile<6>(left, right, depth, result);
    case 5:
      return multiply_tile<5>(left, right, depth, result);
    case 4:
      return multiply_tile<4>(left, right, depth, result);
    case 3:
      return multiply_tile<3>(left, right, depth, result);
    case 2:
      return multiply_tile<2>(left, right, depth, result);
    default:
      return multiply_tile<1>(left, right, depth, result);
  }
}

/// A tile at the right edge, of fewer columns than a tile has: by way of a whole one.
void multiply_edge(std::int64_t rows, std::int64_t columns, const float* left, const float* right,
                   std::int64_t depth, TileResult result) {
  float whole[kTileRows * kTileColumns];
  multiply_rows(rows, left, right, depth, {whole, kTileColumns, false, nullptr});
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = result.data + r * result.stride;
    for (std::int64_t i = 0; i < columns; ++i) {
      float sum = whole[r * kTileColumns + i];
      if (result.accumulate) sum += row[i];
      if (result.bias != nullptr) sum += result.bias[i];
      row[i] = sum;
    }
  }
}

/// Packed blocks of both factors and where their product goes.
struct Block {
  const float *left, *right;
  std::int64_t rows, columns, depth;
  TileResult result;
  std::int64_t tiles() const {
    return ((rows + kTileRows - 1) / kTileRows) * ((columns + kTileColumns - 1) / kTileColumns);
  }
};

/// ahead: what is packed next, if it is to be fetched.
template <class Element>
void multiply_block(const Block& block, RowsAhead<Element> ahead) {
  for (std::int64_t j = 0; j < block.columns; j += kTileColumns) {
    const std::int64_t columns = smaller(kTileColumns, block.columns - j);
    const float *left = block.left, *right = block.right + j * block.depth;
    for (std::int64_t i = 0; i < block.rows; i += kTileRows, left += left_tile_floats(block.depth)) {
      const std::int64_t rows = smaller(kTileRows, block.rows - i);
      TileResult result = block.result;
      result.data += i * result.stride + j;
      if (result.bias != nullptr) result.bias += j;
      ahead.step();
      if (columns < kTileColumns) {
        multiply_edge(rows, columns, left, right, block.depth, result);
      } else {
        multiply_rows(rows, left, right, block.depth, result);
      }
    }
  }
}

/// What of a is packed after the block at row i and depth p: the rows below it, or the first ones of the next
/// depth. None where a is transposed, of which a block's rows are short pieces.
template <class Element>
RowsAhead<Element> rows_after(const ProductOf<Element>& product, const BlockSizes& step, std::int64_t i,
                              std::int64_t p, std::int64_t tiles) {
  const auto& [m, n, k] = product.sizes;
  const auto& a = product.a;
  const bool below = i + step.rows < m;
  const std::int64_t row = below ? i + step.rows : 0, depth = below ? p : p + step.depth;
  if (a.transposed || depth >= k) return {};
  return {a.data + row * a.stride + depth, a.stride, smaller(step.rows, m - row),
          smaller(step.depth, k - depth), tiles};
}

template <class Element>
void pack_block_of_a(const ProductOf<Element>& product, std::int64_t i, std::int64_t p, std::int64_t rows,
                     std::int64_t depth, float* to) {
  const auto& a = product.a;
  if (a.transposed) {
    pack_left(a.data + p * a.stride + i, a.stride, depth, rows, product.sizes.m - i, to);
  } else {
    pack_left_rows(a.data + i * a.stride + p, a.stride, depth, rows, to);
  }
}

template <class Element>
void pack_block_of_b(const ProductOf<Element>& product, std::int64_t p, std::int64_t j, std::int64_t depth,
                     std::int64_t columns, float* to) {
  const auto& b = product.b;
  if (b.transposed) {
    pack_right_transposed(b.data + j * b.stride + p, b.stride, depth, columns, to);
  } else {
    pack_right(b.data + p * b.stride + j, b.stride, depth, columns, to);
  }
}

template <class Element>
void multiply(const ProductOf<Element>& product, float* workspace) {
  const auto& [sizes, a, b, c, stride_c, accumulate, bias] = product;
  const auto [m, n, k] = sizes;
  const BlockSizes most = most_of(a.transposed);
  float *right = workspace, *left = workspace + right_floats(sizes, most);
  const BlockSizes step{.rows = piece_of(m, most.rows, kTileRows),
                        .columns = piece_of(n, most.columns, kTileColumns),
                        .depth = piece_of(k, most.depth, kLanes)};
  for (std::int64_t j = 0; j < n; j += step.columns) {
    const std::int64_t columns = smaller(step.columns, n - j);
    for (std::int64_t p = 0; p < k; p += step.depth) {
      const std::int64_t depth = smaller(step.depth, k - p);
      pack_block_of_b(product, p, j, depth, columns, right);
      const float* last_bias = bias != nullptr && p + depth == k ? bias + j : nullptr;
      for (std::int64_t i = 0; i < m; i += step.rows) {
        const std::int64_t rows = smaller(step.rows, m - i);
        pack_block_of_a(product, i, p, rows, depth, left);
        const TileResult result{c + i * stride_c + j, stride_c, accumulate || p > 0, last_bias};
        const Block block{left, right, rows, columns, depth, result};
        multiply_block(block, rows_after(product, step, i, p, block.tiles()));
      }
    }
  }
}

}  // namespace

std::int64_t avx2_product_workspace(const ProductSizes& sizes, bool transpose_a) {
  const BlockSizes most = most_of(transpose_a);
  return right_floats(sizes, most) + left_floats(sizes, most);
}

void avx2_product(const Product& product, float* workspace) { multiply(product, workspace); }
void avx2_product(const ProductOf<std::uint16_t>& product, float* workspace) { multiply(product, workspace); }

}  // namespace plumb::cpu

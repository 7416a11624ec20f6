// Compiled with -mavx2 -mfma whatever the rest is compiled for, and called where the processor has both: what
// it includes must not define functions that other sources share.
#include "backends/cpu/avx2_product.h"

#include <algorithm>

#include "backends/cpu/avx2_packing.h"
#include "backends/cpu/avx2_tile.h"

namespace plumb::cpu {
namespace {

using namespace avx2;

// A tile's columns of b stay in the first cache for the rows of a block of a, which stays in the second.
constexpr std::int64_t kMostDepth = 256, kMostRows = 96, kMostColumns = 768;

std::int64_t rounded_up(std::int64_t length, std::int64_t unit) { return (length + unit - 1) / unit * unit; }

/// Length of near-equal pieces of at most `most`, itself a multiple of unit: a multiple of unit.
std::int64_t piece_of(std::int64_t length, std::int64_t most, std::int64_t unit) {
  const std::int64_t pieces = (length + most - 1) / most;
  return rounded_up((length + pieces - 1) / pieces, unit);
}

/// Room of the packed blocks. That of b comes first, so that it is aligned.
std::int64_t most_depth(const ProductSizes& sizes) {
  return rounded_up(std::min(sizes.k, kMostDepth), kLanes);
}
std::int64_t right_floats(const ProductSizes& sizes) {
  return most_depth(sizes) * rounded_up(std::min(sizes.n, kMostColumns), kTileColumns);
}
std::int64_t left_floats(const ProductSizes& sizes) {
  return rounded_up(std::min(sizes.m, kMostRows), kTileRows) / kTileRows *
         left_tile_floats(most_depth(sizes));
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
  multiply_rows(rows, left, right, depth, {whole, kTileColumns, false});
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = result.data + r * result.stride;
    for (std::int64_t i = 0; i < columns; ++i)
      row[i] = result.accumulate ? row[i] + whole[r * kTileColumns + i] : whole[r * kTileColumns + i];
  }
}

/// Packed blocks of both factors and where their product goes.
struct Block {
  const float *left, *right;
  std::int64_t rows, columns, depth;
  TileResult result;
};

void multiply_block(const Block& block) {
  for (std::int64_t j = 0; j < block.columns; j += kTileColumns) {
    const std::int64_t columns = std::min(kTileColumns, block.columns - j);
    const float *left = block.left, *right = block.right + j * block.depth;
    for (std::int64_t i = 0; i < block.rows; i += kTileRows, left += left_tile_floats(block.depth)) {
      const std::int64_t rows = std::min(kTileRows, block.rows - i);
      TileResult result = block.result;
      result.data += i * result.stride + j;
      if (columns < kTileColumns) {
        multiply_edge(rows, columns, left, right, block.depth, result);
      } else {
        multiply_rows(rows, left, right, block.depth, result);
      }
    }
  }
}

}  // namespace

std::int64_t avx2_product_workspace(const ProductSizes& sizes) {
  return right_floats(sizes) + left_floats(sizes);
}

void avx2_product(const Product& product, float* workspace) {
  const auto& [sizes, a, b, c, stride_c, accumulate, bias] = product;
  const auto [m, n, k] = sizes;
  float *right = workspace, *left = workspace + right_floats(sizes);
  const std::int64_t most_rows = piece_of(m, kMostRows, kTileRows),
                     most_columns = piece_of(n, kMostColumns, kTileColumns),
                     most_depth = piece_of(k, kMostDepth, kLanes);
  for (std::int64_t j = 0; j < n; j += most_columns) {
    const std::int64_t columns = std::min(most_columns, n - j);
    for (std::int64_t p = 0; p < k; p += most_depth) {
      const std::int64_t depth = std::min(most_depth, k - p);
      pack_right(b.data + p * b.stride + j, b.stride, depth, columns, right);
      for (std::int64_t i = 0; i < m; i += most_rows) {
        const std::int64_t rows = std::min(most_rows, m - i);
        pack_left(a.data + p * a.stride + i, a.stride, depth, rows, m - i, left);
        multiply_block({left, right, rows, columns, depth,
                        TileResult{c + i * stride_c + j, stride_c, accumulate || p > 0}});
      }
    }
  }
}

}  // namespace plumb::cpu

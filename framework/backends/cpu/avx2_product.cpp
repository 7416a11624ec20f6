// Compiled with -mavx2 -mfma whatever the rest is compiled for, and called where the processor has both: what
// it includes must not define functions that other sources share.
#include "backends/cpu/avx2_product.h"

#include <algorithm>

#include "backends/cpu/avx2_packing.h"
#include "backends/cpu/avx2_tile.h"

namespace plumb::cpu {
namespace {

using namespace avx2;

// A tile's columns of the right factor stay in the first cache for the rows of a block of the left one, which
// stays in the second.
constexpr std::int64_t kMostDepth = 384, kMostRows = 96, kMostColumns = 768;

/// Length of near-equal pieces of at most `most`, a multiple of unit.
std::int64_t piece_of(std::int64_t length, std::int64_t most, std::int64_t unit) {
  const std::int64_t pieces = (length + most - 1) / most;
  const std::int64_t piece = (length + pieces - 1) / pieces;
  return (piece + unit - 1) / unit * unit;
}

std::int64_t rounded_up(std::int64_t length, std::int64_t unit) { return (length + unit - 1) / unit * unit; }

/// Room of the packed blocks: the right one first, so that both are aligned.
std::int64_t right_floats(const ProductSizes& sizes) {
  return rounded_up(std::min(sizes.k, kMostDepth), kLanes) *
         rounded_up(std::min(sizes.n, kMostColumns), kTileColumns);
}
std::int64_t left_floats(const ProductSizes& sizes) {
  const std::int64_t tiles = rounded_up(std::min(sizes.m, kMostRows), kTileRows) / kTileRows;
  return tiles * left_tile_floats(rounded_up(std::min(sizes.k, kMostDepth), kLanes));
}

template <bool kPacked>
void multiply_rows(std::int64_t rows, LeftRows left, const float* right, std::int64_t depth,
                   TileResult result) {
  switch (rows) {
    case 6:
      return multiply_tile<6, kPacked>(left, right, depth, result);
    case 5:
      return multiply_tile<5, kPacked>(left, right, depth, result);
    case 4:
      return multiply_tile<4, kPacked>(left, right, depth, result);
    case 3:
      return multiply_tile<3, kPacked>(left, right, depth, result);
    case 2:
      return multiply_tile<2, kPacked>(left, right, depth, result);
    default:
      return multiply_tile<1, kPacked>(left, right, depth, result);
  }
}

/// A tile at the right edge, of fewer columns than a tile has: by way of a whole one.
template <bool kPacked>
void multiply_edge(std::int64_t rows, std::int64_t columns, const LeftRows& left, const float* right,
                   std::int64_t depth, const TileResult& result) {
  float whole[kTileRows * kTileColumns];
  multiply_rows<kPacked>(rows, left, right, depth, {whole, kTileColumns, nullptr, 0});
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* start = result.start + r * result.start_stride;
    for (std::int64_t i = 0; i < columns; ++i) {
      const float sum = whole[r * kTileColumns + i];
      result.data[r * result.stride + i] = result.start != nullptr ? sum + start[i] : sum;
    }
  }
}

/// One range of rows, columns and depth of the product.
struct Range {
  std::int64_t begin, length;
};

class BlockedProduct {
 public:
  BlockedProduct(const Product& product, float* workspace)
      : product_(product), right_(workspace), left_(workspace + right_floats(product.sizes)) {}

  void run() const {
    const auto [m, n, k] = product_.sizes;
    const std::int64_t depth = piece_of(k, kMostDepth, kLanes), rows = piece_of(m, kMostRows, kTileRows),
                       columns = piece_of(n, kMostColumns, kTileColumns);
    for (std::int64_t j = 0; j < n; j += columns) {
      for (std::int64_t p = 0; p < k; p += depth) {
        const Range some_columns{j, std::min(columns, n - j)}, some_depth{p, std::min(depth, k - p)};
        pack_right(element(product_.b, p, j), product_.b.stride, product_.b.transposed, some_depth.length,
                   some_columns.length, right_);
        for (std::int64_t i = 0; i < m; i += rows)
          multiply_block({i, std::min(rows, m - i)}, some_columns, some_depth);
      }
    }
  }

 private:
  static const float* element(const Factor& factor, std::int64_t row, std::int64_t column) {
    return factor.data + (factor.transposed ? column * factor.stride + row : row * factor.stride + column);
  }

  void multiply_block(const Range& rows, const Range& columns, const Range& depth) const {
    const float* left = element(product_.a, rows.begin, depth.begin);
    if (product_.a.transposed) {
      pack_transposed_left(left, product_.a.stride, rows.length, product_.sizes.m - rows.begin, depth.length,
                           left_);
      multiply_tiles<true>({left_, 0}, rows, columns, depth);
    } else {
      multiply_tiles<false>({left, product_.a.stride}, rows, columns, depth);
    }
  }

  template <bool kPacked>
  void multiply_tiles(const LeftRows& block, const Range& rows, const Range& columns,
                      const Range& depth) const {
    for (std::int64_t j = 0; j < columns.length; j += kTileColumns) {
      const float* right = right_ + j * depth.length;
      const std::int64_t tile_columns = std::min(kTileColumns, columns.length - j);
      for (std::int64_t i = 0; i < rows.length; i += kTileRows) {
        const std::int64_t tile_rows = std::min(kTileRows, rows.length - i);
        const LeftRows left{
            block.data + (kPacked ? i / kTileRows * left_tile_floats(depth.length) : i * block.stride),
            block.stride};
        const TileResult result = tile_result(rows.begin + i, columns.begin + j, depth.begin == 0);
        if (tile_columns < kTileColumns) {
          multiply_edge<kPacked>(tile_rows, tile_columns, left, right, depth.length, result);
        } else {
          multiply_rows<kPacked>(tile_rows, left, right, depth.length, result);
        }
      }
    }
  }

  /// The first range of depth starts from what is to be added, the others from the sums before.
  TileResult tile_result(std::int64_t row, std::int64_t column, bool first) const {
    float* data = product_.c + row * product_.stride_c + column;
    if (!first || product_.accumulate) return {data, product_.stride_c, data, product_.stride_c};
    return {data, product_.stride_c, product_.bias != nullptr ? product_.bias + column : nullptr, 0};
  }

  const Product& product_;
  float *right_, *left_;  ///< packed blocks of op(b) and of a transposed a
};

}  // namespace

std::int64_t avx2_product_workspace(const ProductSizes& sizes) {
  return right_floats(sizes) + left_floats(sizes);
}

void avx2_product(const Product& product, float* workspace) { BlockedProduct(product, workspace).run(); }

}  // namespace plumb::cpu

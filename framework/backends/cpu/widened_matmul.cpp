#include "backends/cpu/widened_matmul.h"

#include <algorithm>
#include <utility>

#include "backends/cpu/avx2_product.h"
#include "backends/cpu/sgemm.h"
#include "backends/cpu/widen.h"
#include "backends/cpu/workspace_carver.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

// A block of b is widened once and multiplied by one panel of a after the other, so it may be larger than a
// cache; a panel and its result are read and written several times.
constexpr std::int64_t kPanelRows = 256;
constexpr std::int64_t kMostDepth = 4096;
constexpr std::int64_t kBlockFloats = std::int64_t{1} << 23;  // of all threads together

std::int64_t divided_up(std::int64_t length, std::int64_t most, std::int64_t unit) {
  const std::int64_t pieces = (length + most - 1) / most;
  const std::int64_t piece = (length + pieces - 1) / pieces;
  return std::min(length, (piece + unit - 1) / unit * unit);
}

/// Rows of a panel, columns of a block and depth of both, and where they are widened to.
struct Blocks {
  Blocks(WorkspaceCarver& carver, const MatmulArguments& arguments, const ProductSizes& sizes)
      : panel(std::min(kPanelRows, sizes.m)),
        depth(divided_up(sizes.k, kMostDepth, 1)),
        columns(
            divided_up(sizes.n, std::max(kColumnUnit, kBlockFloats / thread_count() / depth), kColumnUnit)),
        a(carver.take<float>(panel * depth)),
        b(carver.take<float>(depth * columns)),
        c(carver.take<float>(arguments.c.dtype == DType::BFloat16 ? panel * columns : 0)) {}

  std::int64_t panel, depth, columns;
  float *a, *b, *c;  ///< c: of a result that is bf16
};

/// Rows [row, row + rows) and columns [col, col + cols) without gaps.
void widen_block(const Tensor& source, std::int64_t row, std::int64_t rows, std::int64_t col,
                 std::int64_t cols, float* out) {
  const auto* data = source.as<bfloat16>() + row * source.row_stride + col;
  for (std::int64_t r = 0; r < rows; ++r) widen(data + r * source.row_stride, out + r * cols, cols);
}

/// One range of rows, columns and depth.
struct Range {
  std::int64_t begin, length;
};

/// Sums without gaps become the range's part of c.
void narrow_block(const float* sums, const Tensor& c, const Range& rows, const Range& columns) {
  auto* out = c.as<bfloat16>() + rows.begin * c.row_stride + columns.begin;
  for (std::int64_t r = 0; r < rows.length; ++r)
    narrow(sums + r * columns.length, out + r * c.row_stride, columns.length);
}

class WidenedProduct {
 public:
  WidenedProduct(const MatmulArguments& arguments, const ProductSizes& sizes, const Blocks& blocks)
      : arguments_(arguments), sizes_(sizes), blocks_(blocks) {}

  void run() const {
    for (std::int64_t n = 0; n < sizes_.n; n += blocks_.columns) {
      const Range columns{n, std::min(blocks_.columns, sizes_.n - n)};
      for (std::int64_t m = 0; m < sizes_.m; m += blocks_.panel)
        multiply_panel({m, std::min(blocks_.panel, sizes_.m - m)}, columns, m == 0);
    }
  }

 private:
  void multiply_panel(const Range& rows, const Range& columns, bool first_panel) const {
    const Tensor& c = arguments_.c;
    const bool narrows = c.dtype == DType::BFloat16;
    float* sums = narrows ? blocks_.c : c.as<float>() + rows.begin * c.row_stride + columns.begin;
    const std::int64_t stride = narrows ? columns.length : c.row_stride;
    if (narrows && arguments_.accumulate)
      widen_block(c, rows.begin, rows.length, columns.begin, columns.length, sums);
    for (std::int64_t k = 0; k == 0 || k < sizes_.k; k += blocks_.depth) {
      const Range depth{k, std::min(blocks_.depth, sizes_.k - k)};
      widen_a(rows, depth);
      // A block over all of the depth stays for the next panels.
      if (first_panel || blocks_.depth < sizes_.k) widen_b(depth, columns);
      library_sgemm(
          {.sizes = {rows.length, columns.length, depth.length},
           .a = {blocks_.a, arguments_.transpose_a ? rows.length : depth.length, arguments_.transpose_a},
           .b = {blocks_.b, arguments_.transpose_b ? depth.length : columns.length, arguments_.transpose_b},
           .c = sums,
           .stride_c = stride,
           .accumulate = arguments_.accumulate || k > 0});
    }
    if (arguments_.bias.defined())
      add_bias(sums, stride, arguments_.bias.as<float>() + columns.begin, rows.length, columns.length);
    if (narrows) narrow_block(sums, c, rows, columns);
  }

  void widen_a(const Range& rows, const Range& depth) const {
    if (arguments_.transpose_a) {
      widen_block(arguments_.a, depth.begin, depth.length, rows.begin, rows.length, blocks_.a);
    } else {
      widen_block(arguments_.a, rows.begin, rows.length, depth.begin, depth.length, blocks_.a);
    }
  }

  void widen_b(const Range& depth, const Range& columns) const {
    if (arguments_.transpose_b) {
      widen_block(arguments_.b, columns.begin, columns.length, depth.begin, depth.length, blocks_.b);
    } else {
      widen_block(arguments_.b, depth.begin, depth.length, columns.begin, columns.length, blocks_.b);
    }
  }

  const MatmulArguments& arguments_;
  const ProductSizes& sizes_;
  const Blocks& blocks_;
};

/// By our own product. A bf16 result is summed in fp32 first, a block at a time: b is packed once for so many
/// rows, a for so many columns.
class PackedProduct {
 public:
  PackedProduct(WorkspaceCarver& carver, const MatmulArguments& arguments, const ProductSizes& sizes)
      : arguments_(arguments),
        sizes_(sizes),
        narrows_(arguments.c.dtype == DType::BFloat16),
        rows_(narrows_ ? std::min(kMostRows, sizes.m) : sizes.m),
        columns_(narrows_ ? divided_up(sizes.n, kMostColumns, kColumnUnit) : sizes.n),
        sums_(carver.take<float>(narrows_ ? rows_ * columns_ : 0)),
        workspace_(
            carver.take<float>(avx2_product_workspace({rows_, columns_, sizes.k}, arguments.transpose_a))) {}

  void run() const {
    const Tensor& c = arguments_.c;
    if (!narrows_) return multiply({0, sizes_.m}, {0, sizes_.n}, c.as<float>(), c.row_stride);
    for (std::int64_t n = 0; n < sizes_.n; n += columns_) {
      const Range columns{n, std::min(columns_, sizes_.n - n)};
      for (std::int64_t m = 0; m < sizes_.m; m += rows_) {
        const Range rows{m, std::min(rows_, sizes_.m - m)};
        if (arguments_.accumulate)
          widen_block(c, rows.begin, rows.length, columns.begin, columns.length, sums_);
        multiply(rows, columns, sums_, columns.length);
        narrow_block(sums_, c, rows, columns);
      }
    }
  }

 private:
  static constexpr std::int64_t kMostRows = 1024, kMostColumns = 768;

  void multiply(const Range& rows, const Range& columns, float* sums, std::int64_t stride) const {
    const auto [a, b] = std::pair(bits_of(arguments_.a), bits_of(arguments_.b));
    const std::int64_t stride_a = arguments_.a.row_stride, stride_b = arguments_.b.row_stride;
    const bool at = arguments_.transpose_a, bt = arguments_.transpose_b;
    avx2_product({.sizes = {rows.length, columns.length, sizes_.k},
                  .a = {a + rows.begin * (at ? 1 : stride_a), stride_a, at},
                  .b = {b + columns.begin * (bt ? stride_b : 1), stride_b, bt},
                  .c = sums,
                  .stride_c = stride,
                  .accumulate = arguments_.accumulate,
                  .bias = arguments_.bias.defined() ? arguments_.bias.as<float>() + columns.begin : nullptr},
                 workspace_);
  }

  static const std::uint16_t* bits_of(const Tensor& tensor) { return &tensor.as<bfloat16>()->bits; }

  const MatmulArguments& arguments_;
  const ProductSizes& sizes_;
  bool narrows_;
  std::int64_t rows_, columns_;
  float *sums_, *workspace_;
};

}  // namespace

void multiply_widened(const MatmulArguments& arguments, const ProductSizes& sizes, Widening widening) {
  WorkspaceCarver carver(arguments.workspace);
  if (widening == Widening::AsPacked) return PackedProduct(carver, arguments, sizes).run();
  const Blocks blocks(carver, arguments, sizes);
  WidenedProduct(arguments, sizes, blocks).run();
}

std::size_t widened_workspace(const MatmulArguments& arguments, const ProductSizes& sizes,
                              Widening widening) {
  WorkspaceCarver carver;
  if (widening == Widening::AsPacked) {
    PackedProduct(carver, arguments, sizes);
  } else {
    Blocks(carver, arguments, sizes);
  }
  return carver.bytes();
}

}  // namespace plumb::cpu

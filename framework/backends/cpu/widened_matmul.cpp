#include "backends/cpu/widened_matmul.h"

#include <algorithm>

#include "backends/cpu/widen.h"
#include "backends/cpu/workspace_carver.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

constexpr std::int64_t kPanelRows = 256;

/// Floats of each widened block: b whole or in panels with a, whichever way keeps the reduction in one sgemm
/// per panel. Panels run over rows of a: over M, or over K where a is transposed.
struct WidenedSizes {
  std::int64_t panel, a, b, c;
};

WidenedSizes widened_sizes(const MatmulArguments& arguments, const ProductSizes& sizes) {
  const bool narrow_output = arguments.c.dtype == DType::BFloat16;
  if (!arguments.transpose_a) {
    const std::int64_t panel = std::min(kPanelRows, sizes.m);
    return {panel, panel * sizes.k, sizes.k * sizes.n, narrow_output ? panel * sizes.n : 0};
  }
  // b's rows run over K only when it is not transposed; otherwise it is widened whole.
  const std::int64_t panel = std::min(kPanelRows, sizes.k);
  return {panel, panel * sizes.m, arguments.transpose_b ? sizes.n * sizes.k : panel * sizes.n,
          narrow_output ? sizes.m * sizes.n : 0};
}

void widen_rows(const Tensor& source, std::int64_t first, std::int64_t rows, float* out) {
  const auto* data = source.as<bfloat16>();
  const std::int64_t cols = source.cols(), stride = source.row_stride;
  parallel_for(rows, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, cols)),
               [&](std::int64_t r) { widen(data + (first + r) * stride, out + r * cols, cols); });
}

void narrow_rows(const float* source, const Tensor& out, std::int64_t first, std::int64_t rows) {
  auto* data = out.as<bfloat16>();
  const std::int64_t cols = out.cols(), stride = out.row_stride;
  parallel_for(rows, std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, cols)),
               [&](std::int64_t r) { narrow(source + r * cols, data + (first + r) * stride, cols); });
}

/// One panel of rows of a not transposed a: c rows are complete after it.
void multiply_widened_rows(const MatmulArguments& arguments, const ProductSizes& sizes,
                           const WidenedSizes& widened, float* a, float* b, float* c) {
  const bool narrow_output = widened.c > 0;
  widen_rows(arguments.b, 0, arguments.b.rows(), b);
  for (std::int64_t first = 0; first < sizes.m; first += widened.panel) {
    const ProductSizes part{std::min(widened.panel, sizes.m - first), sizes.n, sizes.k};
    widen_rows(arguments.a, first, part.m, a);
    float* c_part = narrow_output ? c : arguments.c.as<float>() + first * arguments.c.row_stride;
    const std::int64_t stride = narrow_output ? sizes.n : arguments.c.row_stride;
    if (narrow_output && arguments.accumulate) widen_rows(arguments.c, first, part.m, c);
    sgemm(false, arguments.transpose_b, part, a, sizes.k, b, arguments.b.cols(),
          arguments.accumulate ? 1.0F : 0.0F, c_part, stride);
    if (arguments.bias.defined()) {
      add_bias(c_part, stride, arguments.bias.as<float>(), part.m, part.n);
    }
    if (narrow_output) narrow_rows(c, arguments.c, first, part.m);
  }
}

/// a transposed: panels over the reduction, the first one overwrites or adds as asked, the others add.
void multiply_widened_reduction(const MatmulArguments& arguments, const ProductSizes& sizes,
                                const WidenedSizes& widened, float* a, float* b, float* c) {
  const bool narrow_output = widened.c > 0;
  float* target = narrow_output ? c : arguments.c.as<float>();
  const std::int64_t stride = narrow_output ? sizes.n : arguments.c.row_stride;
  if (narrow_output && arguments.accumulate) widen_rows(arguments.c, 0, sizes.m, c);
  if (arguments.transpose_b) widen_rows(arguments.b, 0, sizes.n, b);
  for (std::int64_t first = 0; first < sizes.k; first += widened.panel) {
    const ProductSizes part{sizes.m, sizes.n, std::min(widened.panel, sizes.k - first)};
    widen_rows(arguments.a, first, part.k, a);
    if (!arguments.transpose_b) widen_rows(arguments.b, first, part.k, b);
    sgemm(true, arguments.transpose_b, part, a, sizes.m, arguments.transpose_b ? b + first : b,
          arguments.b.cols(), arguments.accumulate || first > 0 ? 1.0F : 0.0F, target, stride);
  }
  if (arguments.bias.defined()) {
    add_bias(target, stride, arguments.bias.as<float>(), sizes.m, sizes.n);
  }
  if (narrow_output) narrow_rows(c, arguments.c, 0, sizes.m);
}

/// The three blocks, in carving order.
struct Blocks {
  Blocks(WorkspaceCarver& carver, const WidenedSizes& sizes)
      : a(carver.take<float>(sizes.a)), b(carver.take<float>(sizes.b)), c(carver.take<float>(sizes.c)) {}
  float *a, *b, *c;
};

}  // namespace

void multiply_widened(const MatmulArguments& arguments, const ProductSizes& sizes) {
  const WidenedSizes widened = widened_sizes(arguments, sizes);
  WorkspaceCarver carver(arguments.workspace);
  const Blocks blocks(carver, widened);
  if (arguments.transpose_a) {
    multiply_widened_reduction(arguments, sizes, widened, blocks.a, blocks.b, blocks.c);
  } else {
    multiply_widened_rows(arguments, sizes, widened, blocks.a, blocks.b, blocks.c);
  }
}

std::size_t widened_workspace(const MatmulArguments& arguments, const ProductSizes& sizes) {
  WorkspaceCarver carver;
  Blocks(carver, widened_sizes(arguments, sizes));
  return carver.bytes();
}

}  // namespace plumb::cpu

// How kernels that sum over rows cut them into blocks. Shapes alone decide, so workspaces can be planned and
// results do not depend on the device.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/tensor.h"

namespace plumb::cuda {

struct RowBlocks {
  std::int64_t rows_each = 0;  ///< the last one may have fewer
  std::int64_t count = 0;
};

/// At most `wanted` blocks of a multiple of `at_once` rows, as even as that allows.
inline RowBlocks cut_rows(std::int64_t rows, std::int64_t at_once, std::int64_t wanted) {
  const std::int64_t groups = (rows + at_once - 1) / at_once;
  const std::int64_t most = std::max<std::int64_t>(1, wanted);
  RowBlocks blocks;
  blocks.rows_each = std::max<std::int64_t>(1, (groups + most - 1) / most) * at_once;
  blocks.count = (rows + blocks.rows_each - 1) / blocks.rows_each;
  return blocks;
}

/// Rows that the teams of a block work on at once (device/norm_function.cuh: with_team), for rows or groups
/// of that many bytes.
inline std::int64_t team_rows_at_once(std::int64_t width, std::size_t element_bytes) {
  const std::int64_t bytes = width * static_cast<std::int64_t>(element_bytes);
  return bytes <= 8 * 64 ? 32 : bytes <= 32 * 64 ? 8 : 1;
}
/// The row blocks of a kernel whose teams emit moments of the rows that they write: two blocks of threads on
/// every multiprocessor of an H100.
inline RowBlocks observed_row_blocks(std::int64_t rows, std::int64_t width, std::size_t element_bytes) {
  return cut_rows(rows, team_rows_at_once(width, element_bytes), 2 * 132);
}

/// Threads of a block that goes down the rows of a chunk of columns (device/column_sums.cuh).
inline constexpr int kWalkThreads = 256;

/// A (rows, cols) matrix of elements of that many bytes, cut for ColumnWalk: chunks of the columns that a
/// warp reads at once in 16-byte packs, times row blocks; enough of both for every multiprocessor of an H100
/// (132) to hold eight.
struct WalkShape {
  std::int64_t rows = 0;
  int cols = 0, chunks = 0;
  RowBlocks row_blocks;

  WalkShape() = default;
  WalkShape(std::int64_t rows_in, std::int64_t cols_in, std::size_t element_bytes)
      : rows(rows_in), cols(static_cast<int>(cols_in)) {
    constexpr std::int64_t kWarps = kWalkThreads / 32, kBlocks = 8 * 132;
    const int step = 32 * 16 / static_cast<int>(element_bytes);
    chunks = (cols + step - 1) / step;
    row_blocks = cut_rows(rows, kWarps, kBlocks / std::max(1, chunks));
  }
  /// Blocks of threads: chunk b % chunks of row block b / chunks.
  std::int64_t blocks() const { return row_blocks.count * chunks; }
};

/// Floats of workspace that launch_row_sum (device/column_sums.cuh) needs.
inline std::int64_t row_sum_partials(const Tensor& x) {
  return WalkShape(x.rows(), x.cols(), size_of(x.dtype)).row_blocks.count * x.cols();
}

}  // namespace plumb::cuda

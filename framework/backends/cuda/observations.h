// Launchers of the observations; arguments have been checked and nothing is empty. `blocks`: of the kernel
// that leaves the partial results.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>

#include "backend/ops/observations.h"
#include "backends/cuda/row_blocks.h"

namespace plumb::cuda {

/// Blocks of a kernel that goes through all entries of x; shapes alone decide.
inline std::int64_t entry_blocks(const Tensor& x) {
  constexpr std::int64_t kEntriesAtLeast = 4096, kBlocks = 4 * 132;
  return std::clamp<std::int64_t>(x.elements() / kEntriesAtLeast, 1, kBlocks);
}

/// Row blocks of column_maxima.
inline RowBlocks maxima_row_blocks(const Tensor& x) { return cut_rows(x.rows(), 64, 132); }

/// partials (2, row blocks).
void launch_row_squares(cudaStream_t stream, const RowSquares& arguments, const RowBlocks& row_blocks,
                        double* partials);
/// partials (entry_blocks).
void launch_count_above(cudaStream_t stream, const CountAbove& arguments, double* partials);
void launch_count_saturated(cudaStream_t stream, const CountSaturated& arguments, double* partials);
/// partials (row blocks, cols).
void launch_column_maxima(cudaStream_t stream, const ColumnMaxima& arguments, float* partials);
/// partials (entry_blocks, kMagnitudeBins).
void launch_magnitude_histogram(cudaStream_t stream, const MagnitudeHistogram& arguments,
                                std::uint32_t* partials);

struct SimilarityScratch {
  std::int64_t chunks = 0;    ///< of 256 columns
  double* scales = nullptr;   ///< (rows) 1 / length, 0 for a row of zeros
  double* squares = nullptr;  ///< (sequences, chunks) of the sum of units
};
void launch_token_similarity(cudaStream_t stream, const TokenSimilarity& arguments,
                             const SimilarityScratch& scratch);

}  // namespace plumb::cuda

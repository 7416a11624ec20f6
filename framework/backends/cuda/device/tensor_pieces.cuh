// The device side of tensor_pieces.h.
#pragma once

#include "backends/cuda/device/reduce.cuh"
#include "backends/cuda/tensor_pieces.h"

namespace plumb::cuda {

inline constexpr int kPieceThreads = 256;

/// What block `piece` of a launch works on: elements [begin, end) of entry `tensor`.
struct Piece {
  int tensor;
  std::int64_t begin, end;
};

template <class Pieces>
__device__ __forceinline__ Piece piece_of_block(const Pieces& pieces) {
  const auto piece = static_cast<std::int32_t>(blockIdx.x);
  int low = 0, high = pieces.count;  // the last entry that starts at or before the piece and has any
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (pieces.first_piece[middle] <= piece) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const std::int64_t begin = (piece - pieces.first_piece[low]) * kPieceElements;
  const std::int64_t end = begin + kPieceElements, elements = pieces.entries[low].elements;
  return {low, begin, end < elements ? end : elements};
}

/// Where results of whole tensors go: index = position in the list; null = not wanted.
template <int kSums>
struct PieceTotals {
  double* out[kSums];
  bool accumulate = false;
};

/// Writes the sums of a piece, which all threads of the block bring their share of; kSums next to each other.
template <int kSums, class Pieces>
__device__ __forceinline__ void leave_piece(const Pieces& pieces, const double (&sums)[kSums],
                                            double* partials) {
  PLUMB_SHARED(double, scratch, [kPieceThreads / kWarp]);
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
    const double total = block_reduce<kPieceThreads>(sums[s], Add{}, &scratch[0]);
    if (threadIdx.x == 0) partials[(pieces.pieces_before_launch + blockIdx.x) * kSums + s] = total;
  }
}

/// Block n adds up the pieces of entry n: thread t those at t, t + kPieceThreads, ... in ascending order.
template <int kSums, class Pieces>
__global__ void __launch_bounds__(kPieceThreads)
    total_pieces_kernel(const Pieces pieces, const double* partials, PieceTotals<kSums> totals) {
  PLUMB_SHARED(double, scratch, [kPieceThreads / kWarp]);
  const int tensor = static_cast<int>(blockIdx.x);
  const double* first = partials + pieces.pieces_before_launch * kSums;
#pragma unroll
  for (int s = 0; s < kSums; ++s) {
    double sum = 0;
    for (std::int64_t piece = pieces.first_piece[tensor] + std::int64_t{threadIdx.x};
         piece < pieces.first_piece[tensor + 1]; piece += kPieceThreads)
      sum += first[piece * kSums + s];
    sum = block_reduce<kPieceThreads>(sum, Add{}, &scratch[0]);
    if (threadIdx.x != 0 || totals.out[s] == nullptr) continue;
    double* out = totals.out[s] + pieces.first_tensor + tensor;
    *out = totals.accumulate ? *out + sum : sum;
  }
}

}  // namespace plumb::cuda

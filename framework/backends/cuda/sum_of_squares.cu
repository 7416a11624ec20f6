#include "backends/cuda/device/convert.cuh"
#include "backends/cuda/device/tensor_pieces.cuh"
#include "backends/cuda/elementwise.h"

namespace plumb::cuda {
namespace {

struct SquareEntry {
  const void* data;
  std::int64_t elements;
  DType dtype;
  bool whole;  ///< starts at a multiple of 16 bytes
};
using SquarePieces = TensorPieces<SquareEntry, 128>;
static_assert(sizeof(SquarePieces) <= 4000, "kernel arguments have 4 KB");

/// float64 throughout: squares of vanishing gradients would underflow in fp32.
template <class T>
__device__ __forceinline__ double sum_of_piece(const SquareEntry& entry, const Piece& piece) {
  constexpr int kPack = kPackOf<T>;
  const T* data = static_cast<const T*>(entry.data);
  const auto square = [](T element) {
    const auto value = static_cast<double>(widen(element));
    return value * value;
  };
  double sum = 0;
  std::int64_t at = piece.begin + std::int64_t{threadIdx.x} * kPack;
  if (entry.whole) {
#pragma unroll 4
    for (; at + kPack <= piece.end; at += kPieceThreads * kPack) {
      const auto pack = load_pack<Pack<T, kPack>>(data + at);
#pragma unroll
      for (int j = 0; j < kPack; ++j) sum += square(pack.values[j]);
    }
  }
  for (; at < piece.end; at += kPieceThreads * kPack)  // the end, or all where packs are not whole
    for (std::int64_t i = at; i < at + kPack && i < piece.end; ++i) sum += square(data[i]);
  return sum;
}

__global__ void __launch_bounds__(kPieceThreads) squares_kernel(const SquarePieces pieces, double* partials) {
  const Piece piece = piece_of_block(pieces);
  const SquareEntry entry = pieces.entries[piece.tensor];
  double sums[1] = {};
  if (entry.dtype == DType::Float32) sums[0] = sum_of_piece<float>(entry, piece);
  if (entry.dtype == DType::BFloat16) sums[0] = sum_of_piece<__nv_bfloat16>(entry, piece);
  if (entry.dtype == DType::Float16) sums[0] = sum_of_piece<__half>(entry, piece);
  if (entry.dtype == DType::Float64) sums[0] = sum_of_piece<double>(entry, piece);
  leave_piece(pieces, sums, partials);
}

}  // namespace

void launch_sum_of_squares(cudaStream_t stream, const SumOfSquares& arguments,
                           std::span<const Tensor> tensors, double* partials) {
  const PieceTotals<1> totals{{static_cast<double*>(arguments.squares.data)}, arguments.accumulate};
  const auto entry_of = [](const Tensor& tensor) -> SquareEntry {
    return {tensor.data, tensor.elements(), tensor.dtype,
            reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0};
  };
  for_launches<SquarePieces>(tensors, entry_of, [&](const SquarePieces& pieces) {
    if (pieces.pieces() > 0) {
      launch({"sum_of_squares", dim3(static_cast<unsigned>(pieces.pieces())), dim3(kPieceThreads), 0, stream},
             squares_kernel, pieces, partials);
    }
    launch(
        {"sum_of_squares_totals", dim3(static_cast<unsigned>(pieces.count)), dim3(kPieceThreads), 0, stream},
        total_pieces_kernel<1, SquarePieces>, pieces, partials, totals);
  });
}

}  // namespace plumb::cuda

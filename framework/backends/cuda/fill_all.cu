#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/tensor_pieces.cuh"
#include "backends/cuda/elementwise.h"

namespace plumb::cuda {
namespace {

struct FillEntry {
  float* data;
  std::int64_t elements;
};
using FillPieces = TensorPieces<FillEntry, 128>;

/// Gradients begin at multiples of 64 bytes; another tensor, and the end of each, goes one by one.
__global__ void __launch_bounds__(kPieceThreads) fill_pieces_kernel(const FillPieces pieces, float value) {
  constexpr int kPack = kPackOf<float>;
  const Piece piece = piece_of_block(pieces);
  float* const data = pieces.entries[piece.tensor].data;
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % (kPack * sizeof(float)) == 0;
  const float values[kPack] = {value, value, value, value};
  for (std::int64_t i = piece.begin + std::int64_t{threadIdx.x} * kPack; i < piece.end;
       i += kPieceThreads * kPack) {
    if (aligned && i + kPack <= piece.end) {
      store<kPack>(data + i, values);
    } else {
      for (std::int64_t j = i; j < i + kPack && j < piece.end; ++j) data[j] = value;
    }
  }
}

}  // namespace

void launch_fill_all(cudaStream_t stream, std::span<const Tensor> tensors, float value) {
  const auto entry_of = [](const Tensor& tensor) -> FillEntry {
    return {static_cast<float*>(tensor.data), tensor.elements()};
  };
  for_launches<FillPieces>(tensors, entry_of, [&](const FillPieces& pieces) {
    if (pieces.pieces() == 0) return;
    launch({"fill_all", dim3(static_cast<unsigned>(pieces.pieces())), dim3(kPieceThreads), 0, stream},
           fill_pieces_kernel, pieces, value);
  });
}

}  // namespace plumb::cuda

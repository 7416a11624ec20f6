#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/tensor_pieces.cuh"
#include "backends/cuda/elementwise.h"
#include "core/word_hash.h"

namespace plumb::cuda {
namespace {

using Sum = unsigned long long;

struct HashEntry {
  const void* data;
  std::int64_t elements;  ///< words
  bool narrow;            ///< elements of 16 bits
  bool whole;             ///< starts at a multiple of 16 bytes
};
using HashPieces = TensorPieces<HashEntry, 128>;
static_assert(sizeof(HashPieces) <= 4000, "kernel arguments have 4 KB");

template <class Word>
__device__ __forceinline__ Sum hash_of_piece(const HashEntry& entry, const Piece& piece) {
  constexpr int kPack = 16 / static_cast<int>(sizeof(Word));
  const Word* words = static_cast<const Word*>(entry.data);
  Sum sum = 0;
  std::int64_t at = piece.begin + std::int64_t{threadIdx.x} * kPack;
  if (entry.whole) {
    for (; at + kPack <= piece.end; at += kPieceThreads * kPack) {
      const auto pack = load_pack<Pack<Word, kPack>>(words + at);
#pragma unroll
      for (int j = 0; j < kPack; ++j) sum += hash_of_word(pack.values[j], static_cast<std::uint64_t>(at + j));
    }
  }
  for (; at < piece.end; at += kPieceThreads * kPack)  // the end, or all where packs are not whole
    for (std::int64_t i = at; i < at + kPack && i < piece.end; ++i)
      sum += hash_of_word(words[i], static_cast<std::uint64_t>(i));
  return sum;
}

__global__ void __launch_bounds__(kPieceThreads)
    hash_kernel(const HashPieces pieces, std::int64_t* partials) {
  PLUMB_SHARED(Sum, scratch, [kPieceThreads / kWarp]);
  const Piece piece = piece_of_block(pieces);
  const HashEntry entry = pieces.entries[piece.tensor];
  Sum sum =
      entry.narrow ? hash_of_piece<std::uint16_t>(entry, piece) : hash_of_piece<std::uint32_t>(entry, piece);
  sum = block_reduce<kPieceThreads>(sum, Add{}, &scratch[0]);
  if (threadIdx.x == 0) partials[pieces.pieces_before_launch + blockIdx.x] = static_cast<std::int64_t>(sum);
}

/// Block n adds up the pieces of entry n.
__global__ void __launch_bounds__(kPieceThreads)
    hash_totals_kernel(const HashPieces pieces, const std::int64_t* partials, std::int64_t* hashes) {
  PLUMB_SHARED(Sum, scratch, [kPieceThreads / kWarp]);
  const int tensor = static_cast<int>(blockIdx.x);
  const std::int64_t* first = partials + pieces.pieces_before_launch;
  Sum sum = 0;
  for (std::int64_t piece = pieces.first_piece[tensor] + std::int64_t{threadIdx.x};
       piece < pieces.first_piece[tensor + 1]; piece += kPieceThreads)
    sum += static_cast<Sum>(first[piece]);
  sum = block_reduce<kPieceThreads>(sum, Add{}, &scratch[0]);
  if (threadIdx.x == 0) hashes[pieces.first_tensor + tensor] = static_cast<std::int64_t>(sum);
}

}  // namespace

std::int64_t hashed_words_of(const Tensor& tensor) {
  return size_of(tensor.dtype) == 8 ? 2 * tensor.elements() : tensor.elements();
}

void launch_hash(cudaStream_t stream, const HashTensors& arguments, std::span<const Tensor> tensors,
                 std::int64_t* partials) {
  auto* hashes = static_cast<std::int64_t*>(arguments.hashes.data);
  const auto entry_of = [](const Tensor& tensor) -> HashEntry {
    return {tensor.data, hashed_words_of(tensor), size_of(tensor.dtype) == 2,
            reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0};
  };
  for_launches<HashPieces>(tensors, entry_of, [&](const HashPieces& pieces) {
    if (pieces.pieces() > 0) {
      launch({"hash", dim3(static_cast<unsigned>(pieces.pieces())), dim3(kPieceThreads), 0, stream},
             hash_kernel, pieces, partials);
    }
    launch({"hash_totals", dim3(static_cast<unsigned>(pieces.count)), dim3(kPieceThreads), 0, stream},
           hash_totals_kernel, pieces, partials, hashes);
  });
}

}  // namespace plumb::cuda

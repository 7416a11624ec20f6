// Launchers of the embeddings; arguments have been checked.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/ops/embedding.h"

namespace plumb::cuda {

void launch_embedding_forward(cudaStream_t stream, const EmbeddingForward& arguments);

/// Positions of the sorted order of rows that one block adds up.
inline constexpr std::int64_t kEmbeddingTile = 32;

struct EmbeddingScratch {
  std::int32_t* order = nullptr;  ///< (R) row numbers by ascending id, equal ids by ascending row
  double* cut_sums = nullptr;     ///< (tiles, 2, C) of the runs of equal ids that a tile's ends cut
};
void launch_embedding_backward(cudaStream_t stream, const EmbeddingBackward& arguments,
                               const EmbeddingScratch& scratch);

}  // namespace plumb::cuda

#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaEmbedding::embedding_forward(Stream&, const EmbeddingForward&) const {
  fail("embedding_forward: not there yet");
}
void CudaEmbedding::embedding_backward(Stream&, const EmbeddingBackward&) const {
  fail("embedding_backward: not there yet");
}
std::size_t CudaEmbedding::embedding_backward_workspace(const EmbeddingBackward&) const {
  fail("embedding_backward_workspace: not there yet");
}

}  // namespace plumb::cuda

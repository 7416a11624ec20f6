#include <algorithm>

#include "backends/cuda/attention_kernels.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaAttention::attention_forward(Stream& stream, const AttentionForward& arguments) const {
  const cudaStream_t handle = handle_of(stream);
  const AttentionLibrary* library = chooser_.library_for(request_of(arguments));
  AttentionForward missing = arguments;
  if (library == nullptr) {
    attention_forward_by_kernels(handle, arguments);
    missing.max_logit = Tensor();
  } else {
    library->forward(handle, arguments);
  }
  attention_statistics_by_kernels(handle, missing);
}

void CudaAttention::attention_backward(Stream& stream, const AttentionBackward& arguments) const {
  const cudaStream_t handle = handle_of(stream);
  const AttentionLibrary* library = chooser_.library_for(request_of(arguments));
  if (library == nullptr) return attention_backward_by_kernels(handle, arguments);
  library->backward(handle, arguments);
}

std::size_t CudaAttention::attention_forward_workspace(const AttentionForward& arguments) const {
  const AttentionRequest request = request_of(arguments);
  const AttentionLibrary* library = chooser_.library_for(request);
  // A plan is made without data pointers: one that turns out unaligned goes to the kernels.
  const std::size_t kernels =
      std::max(kernels_forward_workspace(arguments), kernels_statistics_workspace(arguments));
  return library == nullptr ? kernels : std::max(library->workspace(request), kernels);
}

std::size_t CudaAttention::attention_backward_workspace(const AttentionBackward& arguments) const {
  const AttentionRequest request = request_of(arguments);
  const AttentionLibrary* library = chooser_.library_for(request);
  const std::size_t kernels = kernels_backward_workspace(arguments);
  return library == nullptr ? kernels : std::max(library->workspace(request), kernels);
}

}  // namespace plumb::cuda

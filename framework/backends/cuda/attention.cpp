#include <algorithm>

#include "backends/cuda/attention_kernels.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

/// What a library does not give: the largest logit, from q, k and the log-sum-exp.
AttentionStatistics max_logit_of(const AttentionForward& arguments) {
  AttentionStatistics statistics;
  statistics.shape = arguments.shape;
  statistics.q = arguments.q;
  statistics.k = arguments.k;
  statistics.log_sum_exp = arguments.log_sum_exp;
  statistics.max_logit = arguments.max_logit;
  statistics.workspace = arguments.workspace;
  return statistics;
}

}  // namespace

void CudaAttention::attention_forward(Stream& stream, const AttentionForward& arguments) const {
  const cudaStream_t handle = handle_of(stream);
  const AttentionLibrary* library = chooser_.library_for(request_of(arguments));
  if (library == nullptr) return attention_forward_by_kernels(handle, arguments);
  library->forward(handle, arguments);
  if (arguments.max_logit.defined()) attention_statistics_by_kernels(handle, max_logit_of(arguments));
}

void CudaAttention::attention_backward(Stream& stream, const AttentionBackward& arguments) const {
  const cudaStream_t handle = handle_of(stream);
  const AttentionLibrary* library = chooser_.library_for(request_of(arguments));
  if (library == nullptr) return attention_backward_by_kernels(handle, arguments);
  library->backward(handle, arguments);
}

void CudaAttention::attention_statistics(Stream& stream, const AttentionStatistics& arguments) const {
  attention_statistics_by_kernels(handle_of(stream), arguments);
}

std::size_t CudaAttention::attention_forward_workspace(const AttentionForward& arguments) const {
  const AttentionRequest request = request_of(arguments);
  const AttentionLibrary* library = chooser_.library_for(request);
  const std::size_t kernels = kernels_forward_workspace(arguments);
  if (library == nullptr) return kernels;
  // A plan is made without data pointers: one that turns out unaligned goes to the kernels, and the largest
  // logit may be asked for later.
  return std::max(
      {library->workspace(request), kernels, kernels_statistics_workspace(max_logit_of(arguments))});
}

std::size_t CudaAttention::attention_backward_workspace(const AttentionBackward& arguments) const {
  const AttentionRequest request = request_of(arguments);
  const AttentionLibrary* library = chooser_.library_for(request);
  const std::size_t kernels = kernels_backward_workspace(arguments);
  return library == nullptr ? kernels : std::max(library->workspace(request), kernels);
}

std::size_t CudaAttention::attention_statistics_workspace(const AttentionStatistics& arguments) const {
  return kernels_statistics_workspace(arguments);
}

}  // namespace plumb::cuda

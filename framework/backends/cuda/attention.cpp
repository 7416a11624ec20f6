#include "backends/cuda/attention_kernels.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaAttention::attention_forward(Stream& stream, const AttentionForward& arguments) const {
  attention_forward_by_kernels(handle_of(stream), arguments);
}
void CudaAttention::attention_backward(Stream& stream, const AttentionBackward& arguments) const {
  attention_backward_by_kernels(handle_of(stream), arguments);
}
void CudaAttention::attention_statistics(Stream& stream, const AttentionStatistics& arguments) const {
  attention_statistics_by_kernels(handle_of(stream), arguments);
}
std::size_t CudaAttention::attention_forward_workspace(const AttentionForward& arguments) const {
  return kernels_forward_workspace(arguments);
}
std::size_t CudaAttention::attention_backward_workspace(const AttentionBackward& arguments) const {
  return kernels_backward_workspace(arguments);
}
std::size_t CudaAttention::attention_statistics_workspace(const AttentionStatistics& arguments) const {
  return kernels_statistics_workspace(arguments);
}
void CudaAttention::rotary(Stream&, const Rotary&) const { fail("rotary: not there yet"); }
void CudaAttention::prepare_rotary(const Rotary&) const { fail("prepare_rotary: not there yet"); }

}  // namespace plumb::cuda

#include "backends/cuda/cuda_ops.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaStreamMix::stream_read(Stream&, const StreamRead&) const { fail("stream_read: not there yet"); }
void CudaStreamMix::stream_read_backward(Stream&, const StreamReadBackward&) const {
  fail("stream_read_backward: not there yet");
}
std::size_t CudaStreamMix::stream_read_backward_workspace(const StreamReadBackward&) const {
  fail("stream_read_backward_workspace: not there yet");
}
void CudaStreamMix::stream_write(Stream&, const StreamWrite&) const { fail("stream_write: not there yet"); }
void CudaStreamMix::stream_write_backward(Stream&, const StreamWriteBackward&) const {
  fail("stream_write_backward: not there yet");
}
std::size_t CudaStreamMix::stream_write_backward_workspace(const StreamWriteBackward&) const {
  fail("stream_write_backward_workspace: not there yet");
}
void CudaStreamMix::stream_weights(Stream&, const StreamWeights&) const {
  fail("stream_weights: not there yet");
}
void CudaStreamMix::stream_weights_backward(Stream&, const StreamWeightsBackward&) const {
  fail("stream_weights_backward: not there yet");
}
std::size_t CudaStreamMix::stream_weights_backward_workspace(const StreamWeightsBackward&) const {
  fail("stream_weights_backward_workspace: not there yet");
}

}  // namespace plumb::cuda
